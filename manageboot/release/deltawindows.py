"""Windows of a release, put together from old images and the frames of a delta; whoever gets one gets the right one."""

from collections.abc import Callable, Container, Sequence

from manageboot.release import deltalayout
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.stored import ReadStored
from manageboot.release.windows import Operation, WindowReader

ReadOld = Callable[[Sequence[tuple[Extent, memoryview]]], None]
"""Fills buffers, each with the blocks of an extent of the old images; they need not be right. The last block of an
image is filled with zeros, whatever lies behind the image on its device. Any thread calls it, also several at once."""


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
            read_old: reads the blocks of the old images.
            unpacker: unpacks the frames of the pack.
        """
        super().__init__(delta, read, unpacker, OldImages(delta, read_old))


class OldImages:
    """What a delta takes from the old images."""

    def __init__(self, delta: DeltaIndex, read: ReadOld) -> None:
        """Give what a delta tells of, out of what `read` gives."""
        self._delta = delta
        self._read = read

    def copy(self, operations: Sequence[Operation], window: memoryview) -> Container[int]:
        """Put what operations copy into their window; return which of them copy, by their numbers."""
        wanted: dict[int, tuple[Extent, memoryview]] = {}
        end = 0
        for number, operation in enumerate(operations):
            begin, end = end, end + operation.blocks * BLOCK_BYTES
            # Not all are of the delta: data may be on the device that is being written, too.
            if isinstance(operation, deltalayout.Operation) and operation.extent is not None:
                wanted[number] = operation.extent, window[begin:end]
        self._read(list(wanted.values()))
        return wanted

    def dictionary(self, frame: int, room: memoryview) -> memoryview:
        """Read the dictionary of a frame into a buffer, and return the part that it fills; empty: it needs none."""
        wanted: list[tuple[Extent, memoryview]] = []
        end = 0
        for extent in self._delta.dictionary(frame):
            begin, end = end, end + extent.blocks * BLOCK_BYTES
            wanted.append((extent, room[begin:end]))
        self._read(wanted)
        return room[:end]
