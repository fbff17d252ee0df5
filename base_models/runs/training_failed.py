"""The failure of one member, which a run does without."""

from __future__ import annotations


class TrainingFailedError(ValueError):
    """Say which member and fold could not be trained, and why."""
