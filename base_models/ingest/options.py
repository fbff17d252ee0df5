"""What a user may choose about an ingest."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

_OF_THE_RESULT = ("size", "shape", "quality", "min_side", "drop_near_duplicates")


@dataclass(frozen=True)
class IngestOptions:
    """Set form, filters and limits of an ingest.

    Parameters
    ----------
    size : int, default=299
        Longest side of the photos written, in pixels.
    shape : {"letterbox", "keep"}, default="letterbox"
        ``letterbox``: a square with white bars, smaller photos enlarged. ``keep``: the photo's own proportions, never
        enlarged.
    quality : int, default=85
        JPEG quality, 1 to 95.
    min_side : int, default=16
        Photos with a shorter side, in pixels, are left out.
    drop_near_duplicates : bool, default=True
        Leave out photos that are another one resized or compressed again; exact copies always are.
    workers : int, default=1
        Child processes that decode.
    memory_bytes : int, default=2**30
        What one child may allocate.
    seconds : float, default=20.0
        What one photo may take; CPU time and wall time.
    id_column, labels_column : str
        Columns of annotations in CSV form.
    """

    size: int = 299
    shape: Literal["letterbox", "keep"] = "letterbox"
    quality: int = 85
    min_side: int = 16
    drop_near_duplicates: bool = True
    workers: int = 1
    memory_bytes: int = 2**30
    seconds: float = 20.0
    id_column: str = "image"
    labels_column: str = "labels"

    def __post_init__(self) -> None:
        if self.shape not in ("letterbox", "keep"):
            raise ValueError(f"shape must be 'letterbox' or 'keep': got {self.shape!r}; choose one.")
        limits = {"size": (8, 8192), "quality": (1, 95), "min_side": (1, 8192), "workers": (1, 1024)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be from {low} to {high}: got {getattr(self, name)}; change it.")
        if self.memory_bytes < 2**26:
            raise ValueError(f"memory_bytes must be at least 64 MiB: got {self.memory_bytes:,}; raise it.")
        if not self.seconds > 0:
            raise ValueError(f"seconds must be above 0: got {self.seconds}; raise it.")

    def of_the_result(self) -> dict[str, Any]:
        """Return the options on which the photos written depend; a folder holds one choice of them.

        Returns
        -------
        dict
            Values by name.
        """
        return {name: value for name, value in asdict(self).items() if name in _OF_THE_RESULT}
