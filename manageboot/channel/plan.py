"""Which frames of a pack have to be fetched, and where else the data of a window is: in the passive slot.

What an installation of the same release left there is not fetched again, and neither is a frame whose data was written
before. All that is read there is judged as what comes from a server is: by the SHA-256 of its window.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from manageboot import errors
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, window_digest
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS, Image, Operation, Window
from manageboot.release.stored import Recent, verify
from manageboot.release.windows import Gathered, WindowReader
from manageboot.release.windows import Operation as AnyOperation
from manageboot.release.windows import Window as AnyWindow


class Passive(Protocol):
    """The devices of the passive slot, by the roles of the images that go there."""

    def look(self, role: str, offset: int, buffer: memoryview) -> bool:
        """Fill a buffer, which begins on a page, with what a device holds now; tell whether that will stay there.

        Raises:
            DeviceError: it can't be read.
        """
        ...

    def read(self, role: str, offset: int, target: memoryview, *, written: bool) -> None:
        """Fill a buffer with what a device holds; for any thread.

        Args:
            role: which device.
            offset: in bytes.
            target: the buffer.
            written: wait until this installation has written it.

        Raises:
            DeviceError: it can't be read, or the installation was ended.
        """
        ...

    def is_written(self, role: str, end: int, wait_s: float) -> bool:
        """Tell whether this installation is done with all before an offset; wait for so many seconds at most."""
        ...

    def stays(self, role: str, offset: int) -> bool:
        """Tell whether what is written at an offset is there from then on, which a header is not."""
        ...

    def cancel(self) -> None:
        """Make a read that waits fail."""
        ...


class Local(NamedTuple):
    """An operation of our own: the blocks are on a device."""

    blocks: int
    role: str
    offset: int
    """Where, in bytes."""
    length: int
    """How many bytes; what follows in the last block are zeros."""
    written: bool
    """Whether this installation writes it there."""
    frame: None = None
    first: int = 0


class Plan:
    """What of a pack is needed; at first, all of it."""

    def __init__(self, index: Index, name: str) -> None:
        """Plan to read each frame.

        Args:
            index: of the pack.
            name: what messages call the pack.
        """
        self.passive: Passive | None = None
        """Where data may be read that was written there."""
        self.in_order = False
        """Whether the pack is being read from its begin to its end, and not a frame here and there."""
        self._index = index
        self._name = name
        self._open = bytearray(b"\1" * index.frame_count)
        self._held = bytearray(index.window_count)
        self._homes: array[int] | None = None
        # What the reader still has, who is given the windows in the same order.
        self._near = Recent()

    @property
    def bytes_needed(self) -> int:
        """The size of all frames that were not read and are not held."""
        return sum(self._index.frame(number).size for number in range(self._index.frame_count) if self._open[number])

    def number(self, offset: int) -> int:
        """Return which frame lies at an offset of the pack."""
        return bisect_right(self._index.offsets, offset) - 1

    def needs(self, number: int) -> bool:
        """Tell whether a frame was not read and is not held."""
        return bool(self._open[number])

    def has(self, number: int) -> None:
        """Note that a frame is there and need not be fetched."""
        self._open[number] = 0

    def home(self, number: int) -> tuple[str, int, int]:
        """Return where the first window goes that needs a frame: its role, begin and end, in bytes."""
        image, window = self._index.window(self._home_rows()[number])
        begin = window.number * WINDOW_BYTES
        return self._index.images[image].role, begin, begin + self._index.images[image].length(window.number)

    def judge(self, offset: int, stored: bytes) -> None:
        """Make sure that a stored frame is the one that belongs at an offset.

        Raises:
            ReleaseDigestError: it is not.
        """
        number = self.number(offset)
        verify(self._index, number, stored, self._name)
        self.has(number)

    def end(self, offset: int) -> int:
        """Return where the frames end that are needed from an offset on, without a gap."""
        number = self.number(offset)
        after = number + 1
        if self.in_order and self._open[number]:
            after = self._open.find(0, number)
        return self._index.offsets[after] if 0 < after < self._index.frame_count else self._index.pack_size

    def compare(self, report: Callable[[int], None]) -> None:
        """Find the windows that the passive slot holds already; their frames are not needed.

        Args:
            report: is told how many bytes were compared.
        """
        assert self.passive is not None
        buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        compared = 0
        for row, image, window in self._rows():
            part = buffer[: image.length(window.number)]
            try:
                stays = self.passive.look(image.role, window.number * WINDOW_BYTES, part)
            except errors.DeviceError:
                stays = False
            self._held[row] = stays and window_digest(part) == window.sha256
            compared += len(part)
            report(compared)
        for frame, home in enumerate(self._home_rows()):
            self._open[frame] &= not self._held[home]

    def windows(self, image: int) -> Iterator[Window]:
        """Give the windows of an image, with the blocks that are read from a device instead of a frame."""
        first = self._index.first_row(image)
        for row, window in enumerate(self._index.windows(image), first):
            yield self._laid_out(row, image, window)

    def _laid_out(self, row: int, image: int, window: Window) -> Window:
        if self.passive is None:
            return window
        operations: list[Operation | Local] = []
        if self._held[row]:
            operations = [self._local(row, image, window.number * WINDOW_BYTES, WINDOW_BLOCKS)]
        else:
            for operation in window.operations:
                operations += self._written(row, operation) or [operation]
        for frame in sorted({one.frame for one in operations if one.frame is not None}):
            self._near.use(frame, self._index.frame(frame).size)
        return window._replace(operations=tuple(operations))  # type: ignore[arg-type]  # readers ask what both kinds have

    def _written(self, row: int, operation: Operation) -> list[Local]:
        """Return where the blocks of an operation were written before; nothing, if the frame is to be read."""
        frame = operation.frame
        if frame is None or frame in self._near or (home := self._home_rows()[frame]) == row:
            return []
        image, window = self._index.window(home)
        at = window.number * WINDOW_BYTES
        found: list[Local] = []
        wanted, end = operation.first, operation.first + operation.blocks
        for blocks, other, first in window.operations:
            if other == frame and first <= wanted < min(first + blocks, end):
                part = min(first + blocks, end) - wanted
                found.append(self._local(home, image, at + (wanted - first) * BLOCK_BYTES, part))
                wanted += part
            at += blocks * BLOCK_BYTES
        return found if wanted == end else []

    def _local(self, row: int, number: int, offset: int, blocks: int) -> Local:
        image = self._index.images[number]
        length = min(blocks * BLOCK_BYTES, image.size - offset)
        return Local(-(-length // BLOCK_BYTES), image.role, offset, length, written=not self._held[row])

    def _home_rows(self) -> "array[int]":
        """Return the window that is the first one to need each frame, as its row."""
        if self._homes is None:
            homes = array("q", [-1]) * self._index.frame_count
            for row, _, window in self._rows():
                for operation in window.operations:
                    if operation.frame is not None and homes[operation.frame] < 0:
                        homes[operation.frame] = row
            self._homes = homes
        return self._homes

    def _rows(self) -> Iterator[tuple[int, Image, Window]]:
        row = 0
        for number, image in enumerate(self._index.images):
            for window in self._index.windows(number):
                yield row, image, window
                row += 1


class PlannedReader(WindowReader):
    """Reads windows as a plan lays them out."""

    plan: Plan

    def put_together(self, image: Image, window: AnyWindow, gathered: Gathered, buffer: memoryview) -> None:
        """Fill a buffer with a window, and verify it.

        Raises:
            ReadBackError: a device does not hold what was written there.
            ManagebootError: as `WindowReader.put_together`.
        """
        try:
            super().put_together(image, window, gathered, buffer)
        except errors.ReleaseDigestError as error:
            if not any(isinstance(operation, Local) for operation in window.operations):
                raise
            raise errors.ReadBackError(
                f"cannot read window {window.number} of {image.role} from the passive slot: it does not hold what was"
                " there before"
            ) from error

    def _fill_alone(self, operation: AnyOperation, target: memoryview) -> None:
        if isinstance(operation, Local):
            assert self.plan.passive is not None
            there = target[: operation.length]
            self.plan.passive.read(operation.role, operation.offset, there, written=operation.written)
            target[len(there) :] = bytes(len(target) - len(there))
        else:
            super()._fill_alone(operation, target)
