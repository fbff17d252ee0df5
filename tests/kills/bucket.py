"""An object store for commands that are killed: a folder behind ``bucket://``, where an object is whole or absent.

What is left of a write that was killed has a name of its own, as the parts of an unfinished upload have.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class BucketFileSystem(LocalFileSystem):
    """Keep objects below the working directory."""

    protocol = ("bucket",)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return the file of an object; ``bucket://./packs`` is another name of ``bucket://packs``."""
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return Path(str(path).removeprefix("bucket://")).absolute().as_posix()

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Copy a file of this machine.

        Parameters
        ----------
        lpath, rpath : str
            From where, and to where.
        **_ : object
            What other stores take.
        """
        unfinished = Path(f"{self._strip_protocol(rpath)}.part")
        shutil.copyfile(lpath, unfinished)
        unfinished.replace(self._strip_protocol(rpath))

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        """Write an object.

        Parameters
        ----------
        path : str
            Where to.
        value : bytes
            Its content.
        **_ : object
            What other stores take.
        """
        unfinished = Path(f"{self._strip_protocol(path)}.part")
        unfinished.write_bytes(value)
        unfinished.replace(self._strip_protocol(path))


def open_bucket() -> None:
    """Let fsspec know it."""
    fsspec.register_implementation("bucket", BucketFileSystem, clobber=True)
