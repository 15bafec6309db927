"""Where a block may be, besides a path."""

from __future__ import annotations


class Inside:
    """A file in the root directory of a vfat file system on a device or in an image, taken where a path is."""

    # No NamedTuple: a query would wait for typing.
    __slots__ = ("device", "name", "offset", "size")

    def __init__(self, device: str, offset: int, size: int, name: str) -> None:
        """Name a file; the file system begins at `offset`, and has `size` bytes of the device, no more."""
        self.device = device
        self.offset = offset
        self.size = size
        self.name = name

    def __str__(self) -> str:
        """Write it as mtools do: `mtype -i DEVICE@@OFFSET ::NAME`."""
        return f"{self.device}@@{self.offset}::{self.name}"

    def beside(self, name: str) -> Inside:
        """Return another file of the same directory."""
        return Inside(self.device, self.offset, self.size, name)
