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
from manageboot.release.costs import frames_of
from manageboot.release.delta import DeltaIndex
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES, WINDOW_BLOCKS, Image
from manageboot.release.stored import Frames, ReadStored, Recent, verify
from manageboot.release.windows import Gathered, OldData, Operation, Window, WindowReader


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


class Laid(NamedTuple):
    """A window, and where each of its blocks is read."""

    number: int
    sha256: bytes
    operations: tuple[Operation, ...]


class Planned(Frames, Protocol):
    """What an index says of a pack and of the windows that need it: that of a release, or of a delta."""

    @property
    def frame_count(self) -> int:
        """How many frames the pack has."""

    @property
    def pack_size(self) -> int:
        """Of the pack, in bytes."""

    def windows(self, image: int) -> Iterator[Window]:
        """Give the windows of an image, by its number, from its start to its end."""

    def window(self, row: int) -> tuple[int, Window]:
        """Return the number of an image, and a window of it, by its place among those of all images."""


class Plan:
    """What of a pack is needed; at first, all of it."""

    def __init__(self, index: Index, name: str, delta: DeltaIndex | None = None) -> None:
        """Plan to read each frame.

        Args:
            index: that of the release.
            name: what messages call the pack.
            delta: that of the pack, where it is the pack of a delta; None: it is the full one.
        """
        self.passive: Passive | None = None
        """Where data may be read that was written there."""
        self.in_order = False
        """Whether the pack is being read from its begin to its end, and not a frame here and there."""
        self._index = index
        self.pack: Planned = index if delta is None else delta
        """What its index says."""
        self.name = name
        self._open = bytearray(b"\1" * self.pack.frame_count)
        self._held = bytearray(index.window_count)
        self._homes: array[int] | None = None
        # What the reader still has, who is given the windows in the same order.
        self._near = Recent()

    @property
    def bytes_needed(self) -> int:
        """The size of all frames that were not read and are not held."""
        return sum(self.pack.frame(number).size for number in range(self.pack.frame_count) if self._open[number])

    def number(self, offset: int) -> int:
        """Return which frame lies at an offset of the pack."""
        return bisect_right(self.pack.offsets, offset) - 1

    def needs(self, number: int) -> bool:
        """Tell whether a frame was not read and is not held."""
        return bool(self._open[number])

    def has(self, number: int) -> None:
        """Note that a frame is there and need not be fetched."""
        self._open[number] = 0

    def home_row(self, number: int) -> int:
        """Return the first window that needs a frame, as its row."""
        return self._home_rows()[number]

    def home(self, number: int) -> tuple[str, int, int]:
        """Return where the first window goes that needs a frame: its role, begin and end, in bytes."""
        image, window = self._index.window(self.home_row(number))
        begin = window.number * WINDOW_BYTES
        return self._index.images[image].role, begin, begin + self._index.images[image].length(window.number)

    def judge(self, offset: int, stored: bytes) -> None:
        """Make sure that a stored frame is the one that belongs at an offset.

        Raises:
            ReleaseDigestError: it is not.
        """
        number = self.number(offset)
        verify(self.pack, number, stored, self.name)
        self.has(number)

    def end(self, offset: int) -> int:
        """Return where the frames end that are needed from an offset on, without a gap."""
        number = self.number(offset)
        after = number + 1
        if self.in_order and self._open[number]:
            after = self._open.find(0, number)
        return self.pack.offsets[after] if 0 < after < self.pack.frame_count else self.pack.pack_size

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
        self._skip_held()

    def follow(self, other: "Plan") -> None:
        """Let data be read from the passive slot as another plan does, which is for another pack of the release."""
        self.passive, self._held = other.passive, other._held
        self._skip_held()

    def stand_by(self) -> None:
        """Need nothing until `window` is asked for it, or `take_over`."""
        self._open = bytearray(self.pack.frame_count)

    def take_over(self, first: int) -> None:
        """Need what all windows from a row on need, after `stand_by`."""
        for frame, home in enumerate(self._home_rows()):
            self._open[frame] |= home >= first
        self._skip_held()

    def windows(self, image: int) -> Iterator[tuple[int, Window]]:
        """Give the windows of an image with their rows; some blocks are read from a device instead of a frame."""
        for row, window in enumerate(self.pack.windows(image), self._index.first_row(image)):
            yield row, self._laid_out(row, image, window)

    def window(self, row: int) -> Window:
        """Give one window alone, and need what it needs; after `stand_by`."""
        image, window = self.pack.window(row)
        near = {frame for frame in frames_of([window]) if frame in self._near}
        laid = self._laid_out(row, image, window)
        for frame in frames_of([laid]):
            self._open[frame] |= frame not in near
        return laid

    def _laid_out(self, row: int, image: int, window: Window) -> Window:
        operations: list[Operation] = []
        if self._held[row]:
            operations = [self._local(row, image, window.number * WINDOW_BYTES, WINDOW_BLOCKS)]
        else:
            for operation in window.operations:
                operations += self._written(row, operation) or [operation]
        for frame in sorted({one.frame for one in operations if one.frame is not None}):
            self._near.use(frame, self.pack.frame(frame).size)
        return Laid(window.number, window.sha256, tuple(operations))

    def _written(self, row: int, operation: Operation) -> list[Local]:
        """Return where the blocks of an operation were written before; nothing, if the frame is to be read."""
        frame = operation.frame
        if self.passive is None or frame is None or frame in self._near or (home := self._home_rows()[frame]) == row:
            return []
        # The beginnings of images are looked at before anything is written.
        if not self.in_order and not self._held[home]:
            return []
        image, window = self.pack.window(home)
        at = window.number * WINDOW_BYTES
        found: list[Local] = []
        wanted, end = operation.first, operation.first + operation.blocks
        for one in window.operations:
            first = one.first
            if one.frame == frame and first <= wanted < min(first + one.blocks, end):
                part = min(first + one.blocks, end) - wanted
                found.append(self._local(home, image, at + (wanted - first) * BLOCK_BYTES, part))
                wanted += part
            at += one.blocks * BLOCK_BYTES
        return found if wanted == end else []

    def _local(self, row: int, number: int, offset: int, blocks: int) -> Local:
        image = self._index.images[number]
        length = min(blocks * BLOCK_BYTES, image.size - offset)
        return Local(-(-length // BLOCK_BYTES), image.role, offset, length, written=not self._held[row])

    def _home_rows(self) -> "array[int]":
        """Return the window that is the first one to need each frame, as its row."""
        if self._homes is None:
            homes = array("q", [-1]) * self.pack.frame_count
            for image in range(len(self._index.images)):
                for row, window in enumerate(self.pack.windows(image), self._index.first_row(image)):
                    for operation in window.operations:
                        if operation.frame is not None and homes[operation.frame] < 0:
                            homes[operation.frame] = row
            self._homes = homes
        return self._homes

    def _skip_held(self) -> None:
        for frame, home in enumerate(self._home_rows()):
            self._open[frame] &= not self._held[home]

    def _rows(self) -> Iterator[tuple[int, Image, Window]]:
        row = 0
        for number, image in enumerate(self._index.images):
            for window in self._index.windows(number):
                yield row, image, window
                row += 1


class PlannedReader(WindowReader):
    """Reads windows as a plan lays them out."""

    def __init__(self, plan: Plan, read: ReadStored, unpacker: Unpacker, old: OldData | None = None) -> None:
        """Read what a plan is for; `read` gives the bytes of its pack, and a delta needs old data."""
        super().__init__(plan.pack, read, unpacker, old)
        self._plan = plan

    def put_together(self, image: Image, window: Window, gathered: Gathered, buffer: memoryview) -> None:
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

    def _fill_alone(self, operation: Operation, target: memoryview) -> None:
        if isinstance(operation, Local):
            assert self._plan.passive is not None
            there = target[: operation.length]
            self._plan.passive.read(operation.role, operation.offset, there, written=operation.written)
            target[len(there) :] = bytes(len(target) - len(there))
        else:
            super()._fill_alone(operation, target)
