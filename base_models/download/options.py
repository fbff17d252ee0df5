"""What a user may choose about a download."""

from __future__ import annotations

from dataclasses import dataclass

from base_models.photos.decoding import MAX_BYTES


@dataclass(frozen=True)
class DownloadOptions:
    """Set limits and manners of a download.

    Parameters
    ----------
    connections : int, default=32
        Connections at once in all.
    per_host : int, default=8
        Connections at once to one host.
    attempts : int, default=4
        How often one run tries a photo whose failure may pass.
    timeout : float, default=30.0
        Seconds for one request, from connecting to the last byte.
    first_wait : float, default=1.0
        Seconds before the second attempt; doubled for each further one, and varied by up to a half.
    longest_wait : float, default=120.0
        Seconds; a host that asks for a longer rest is not waited for.
    max_photo_bytes : int, default=20,000,000
        Larger photos are refused.
    max_total_bytes : int, optional
        The run ends before the folder's photos exceed this.
    time_limit : float, optional
        Seconds after which the run ends.
    allow_private : bool, default=False
        Also fetch from private addresses and unusual ports: for servers of one's own.
    heed_noai : bool, default=True
        Leave photos alone whose host sends ``X-Robots-Tag: noai`` (or ``noimageai``).
    retry_failed : bool, default=False
        Also try again the photos that failed for a reason that may have passed.
    """

    connections: int = 32
    per_host: int = 8
    attempts: int = 4
    timeout: float = 30.0
    first_wait: float = 1.0
    longest_wait: float = 120.0
    max_photo_bytes: int = MAX_BYTES
    max_total_bytes: int | None = None
    time_limit: float | None = None
    allow_private: bool = False
    heed_noai: bool = True
    retry_failed: bool = False

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "attempts", "max_photo_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1: got {getattr(self, name)}; raise it.")
        for name in ("timeout", "time_limit", "max_total_bytes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0: got {value}; raise it.")
        for name in ("first_wait", "longest_wait"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0: got {getattr(self, name)}; raise it.")
