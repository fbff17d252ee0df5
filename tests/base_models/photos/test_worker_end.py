"""A decoding process whose training is gone says nothing; every other error is shown."""

import sys

import pytest

pytest.importorskip("torch")

from base_models.photos.worker_end import end_quietly


def test_only_a_lost_connection_is_not_worth_a_word(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: shown.append(kind))
    end_quietly(0)
    for kind in (EOFError, ConnectionResetError, BrokenPipeError, ValueError, OSError):
        sys.excepthook(kind, kind(), None)
    assert shown == [ValueError, OSError]
