"""The images of a release that nobody has: pieces of them, out of a delta of that release and the images it is from.

So a node that has release 1 gets release 3 by the deltas from 1 to 2 and from 2 to 3. The second one asks for pieces of
release 2 in no order; each is made when it is asked for. It need not be right, since the windows of release 3 are
verified.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent, Window
from manageboot.release.deltawindows import OldImages, ReadOld
from manageboot.release.description import Image
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS
from manageboot.release.stored import ReadStored, Verified, verify
from manageboot.release.unpacked import Unpacked

_DICTIONARIES_MAX = 1
"""One, as those of the delta that leads on from here are in memory too; it has the threads to put windows together."""


class _Piece(NamedTuple):
    """Blocks that one operation gives, and where they go."""

    frame: int | None
    old: Extent | None
    first: int
    """The first of them among the blocks of the frame."""
    target: memoryview


class Between:
    """The images of a release, as far as they are asked for; any thread may ask, also several at once."""

    def __init__(
        self, delta: DeltaIndex, images: Sequence[Image], read: ReadStored, read_old: ReadOld, unpacker: Unpacker
    ) -> None:
        """Make images out of a delta.

        Args:
            delta: its index; the release between is the one that it leads to.
            images: of that release, in the order in which they are asked for.
            read: gives the bytes of the pack; any thread calls it.
            read_old: reads the images that the delta is from.
            unpacker: unpacks the frames of the pack.
        """
        self._delta = delta
        self._read = read
        self._read_old = read_old
        self._name = unpacker.name
        self._unpacked = Unpacked(unpacker, OldImages(delta, read_old), at_once=_DICTIONARIES_MAX)
        numbers = {image.role: number for number, image in enumerate(delta.index.images)}
        self._images = [delta.index.images[numbers[image.role]] for image in images]
        self._rows = [self._rows_of(numbers[image.role]) for image in images]

    def read(self, wanted: Sequence[tuple[Extent, memoryview]]) -> None:
        """Fill buffers, each with the blocks of an extent; what lies behind an image counts as zeros.

        Raises:
            DeviceError: an older image can't be read.
            ReleaseDigestError, ReleaseFormatError: a frame is not what the index names, or breaks a rule.
            ManagebootError: what `read` raises.
        """
        old: list[tuple[Extent, memoryview]] = []
        taken: list[_Piece] = []
        windows: dict[int, Window] = {}
        for extent, target in wanted:
            for piece in self._pieces(extent, target, windows):
                if piece.old is not None:
                    old.append((piece.old, piece.target))
                elif piece.frame is not None:
                    taken.append(piece)
                else:
                    piece.target[:] = bytes(len(piece.target))
        self._read_old(old)
        # Whatever needs the same frame asks for it at once.
        for piece in sorted(taken, key=lambda piece: piece.frame or 0):
            begin = piece.first * BLOCK_BYTES
            piece.target[:] = self._frame(piece.frame or 0)[begin : begin + len(piece.target)]
        for extent, target in wanted:
            self._end(extent, target)

    def _pieces(self, extent: Extent, target: memoryview, windows: dict[int, Window]) -> Iterator[_Piece]:
        """Say where the blocks of an extent come from, in order; windows that were looked at are kept."""
        end = extent.first + extent.blocks
        for number in range(extent.first // WINDOW_BLOCKS, -(-end // WINDOW_BLOCKS)):
            at = number * WINDOW_BLOCKS
            first, last = max(extent.first, at), min(end, at + WINDOW_BLOCKS)
            part = target[(first - extent.first) * BLOCK_BYTES : (last - extent.first) * BLOCK_BYTES]
            row = self._rows[extent.image].get(number)
            if row is None:
                yield _Piece(None, None, 0, part)
            else:
                if row not in windows:
                    windows[row] = self._delta.window(row)[1]
                yield from _cut(windows[row], first - at, part)

    def _frame(self, number: int) -> bytes:
        return self._unpacked.get(number, lambda: self._stored(number))

    def _stored(self, number: int) -> Verified:
        stored = self._read(self._delta.offsets[number], self._delta.frame(number).size)
        return verify(self._delta, number, stored, self._name)

    def _end(self, extent: Extent, target: memoryview) -> None:
        """Let zeros follow the last byte of an image, whatever the older ones have there."""
        there = max(0, self._images[extent.image].size - extent.first * BLOCK_BYTES)
        if there < len(target):
            target[there:] = bytes(len(target) - there)

    def _rows_of(self, number: int) -> dict[int, int]:
        """Return where each window of an image stands among those of all images, by its number in the image."""
        index = self._delta.index
        return {window.number: row for row, window in enumerate(index.windows(number), index.first_row(number))}


def _cut(window: Window, first: int, target: memoryview) -> Iterator[_Piece]:
    """Say where blocks of a window come from, from one on, as many as a buffer holds."""
    begin, stop = 0, first + len(target) // BLOCK_BYTES
    for operation in window.operations:
        start, end = max(begin, first), min(begin + operation.blocks, stop)
        if start < end:
            part = target[(start - first) * BLOCK_BYTES : (end - first) * BLOCK_BYTES]
            skipped = start - begin
            old = operation.extent and Extent(operation.origin, operation.first + skipped, end - start)
            yield _Piece(operation.frame, old, operation.first + skipped, part)
        begin += operation.blocks
        if begin >= stop:
            return
