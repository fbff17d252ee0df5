"""Photos as clients send them: the files of a form, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from experiments.serving.limits import MOST_NAME, RefusedError
from stacking._checks import first_duplicate

if TYPE_CHECKING:
    from base_models.runs.inference import PhotoFolder

PHOTOS = "multipart/form-data"


@dataclass(frozen=True)
class SentPhotos:
    """Photos in memory, a source as folders of photos are one.

    Parameters
    ----------
    names : tuple of str
        File names.
    contents : tuple of bytes
        What is in the files.
    """

    names: tuple[str, ...]
    contents: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.contents)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the bytes of each photo."""
        return np.array([len(content) for content in self.contents], dtype=np.int64)

    def describe(self, row: int) -> str:
        """Return the name of a photo's file; see `PhotoSource.describe`."""
        return self.names[row]

    def read_bytes(self, row: int) -> bytes:
        """Return the content of one photo; see `PhotoSource.read_bytes`."""
        return self.contents[row]

    def select(self, rows: NDArray[np.int64]) -> SentPhotos:
        """Return some photos; see `PhotoSource.select`."""
        return SentPhotos(tuple(self.names[row] for row in rows), tuple(self.contents[row] for row in rows))


def name_sent_photos(files: Sequence[tuple[str, bytes]]) -> PhotoFolder:
    """Name photos by their files, without the extension, as those of a folder are.

    Parameters
    ----------
    files : sequence of (str, bytes)
        File name and content of each.

    Returns
    -------
    PhotoFolder
        What a run scores.

    Raises
    ------
    RefusedError
        If a name is empty, is a path, has control characters or more than 255, or two photos have one id.
    """
    from base_models.runs.inference import PhotoFolder

    ids = []
    for name, _ in files:
        name_of_file = name.rsplit(".", 1)[0] or name
        if not name.strip() or len(name) > MOST_NAME or "/" in name or "\\" in name or not name.isprintable():
            must = f"every photo must come with a plain file name of at most {MOST_NAME} characters"
            raise RefusedError(400, f"{must}: got {name[:80]!r}.")
        ids.append(name_of_file)
    twice = first_duplicate(ids)
    if twice:
        raise RefusedError(400, f"photos must have different names without their endings: {twice!r} is there twice.")
    names, contents = zip(*files, strict=True)
    return PhotoFolder(np.array(ids, dtype=np.str_), SentPhotos(names, contents))
