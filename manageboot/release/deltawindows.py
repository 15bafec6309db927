"""Windows of a release, put together from old images and the frames of a delta; whoever gets one gets the right one."""

from collections.abc import Callable

from manageboot.release import deltalayout
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.stored import ReadStored
from manageboot.release.windows import Operation, WindowReader

ReadOld = Callable[[Extent], bytes | bytearray]
"""Gives the blocks of an extent of the old images; they need not be right. The last block of an image is filled with
zeros, whatever lies behind the image on its device. Any thread calls it, also several at once."""


class DeltaReader(WindowReader):
    """Reads windows as WindowReader does.

    Where a window is not what was published, the old images are not those that the delta is from, or the release is
    wrong.
    """

    def __init__(self, delta: DeltaIndex, read: ReadStored, read_old: ReadOld, unpacker: Unpacker) -> None:
        """Read what a delta tells of.

        Args:
            delta: its index.
            read: gives the bytes of its pack.
            read_old: gives the blocks of the old images.
            unpacker: unpacks the frames of the pack.
        """
        super().__init__(delta, read, unpacker, OldImages(delta, read_old))


class OldImages:
    """What a delta takes from the old images."""

    def __init__(self, delta: DeltaIndex, read: ReadOld) -> None:
        """Give what a delta tells of, out of what `read` gives."""
        self._delta = delta
        self._read = read

    def copy(self, operation: Operation) -> bytes | bytearray | None:
        """Return what an operation copies; None: it copies nothing."""
        assert isinstance(operation, deltalayout.Operation)
        return None if operation.extent is None else self._read(operation.extent)

    def dictionary(self, frame: int) -> bytearray:
        """Return the dictionary of a frame; empty: it needs none."""
        extents = self._delta.dictionary(frame)
        whole = bytearray(sum(extent.blocks for extent in extents) * BLOCK_BYTES)
        end = 0
        for extent in extents:
            begin, end = end, end + extent.blocks * BLOCK_BYTES
            whole[begin:end] = self._read(extent)
        return whole
