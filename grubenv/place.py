"""Where a block may be, besides a path."""

from __future__ import annotations

from typing import NamedTuple


class Inside(NamedTuple):
    """A file in the root directory of a vfat file system on a device or in an image, taken where a path is."""

    device: str
    offset: int
    """Where the file system begins, in bytes."""
    name: str

    def __str__(self) -> str:
        """Write it as mtools do: `mtype -i DEVICE@@OFFSET ::NAME`."""
        return f"{self.device}@@{self.offset}::{self.name}"

    def beside(self, name: str) -> Inside:
        """Return another file of the same directory."""
        return self._replace(name=name)
