"""Windows of the images, put together from the frames of a pack; whoever gets one gets what the index names."""

import threading
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from manageboot import errors
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import window_digest
from manageboot.release.deltalayout import DICTIONARY_BLOCKS_MAX
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES, Image
from manageboot.release.stored import FrameReader, Frames, ReadStored, Recent, Verified


class Operation(Protocol):
    """Where some blocks of a window come from, be it of a release or of a delta."""

    @property
    def blocks(self) -> int:
        """How many."""

    @property
    def frame(self) -> int | None:
        """The number of the frame that has them; None: they are in none."""

    @property
    def first(self) -> int:
        """The first of them among the blocks of the frame."""


class Window(Protocol):
    """A window of an image, be it of a release or of a delta."""

    @property
    def number(self) -> int:
        """Its offset in units of WINDOW_BYTES."""

    @property
    def sha256(self) -> bytes:
        """Of its bytes."""

    @property
    def operations(self) -> Sequence[Operation]:
        """They fill it from its first block to its last."""


class OldData(Protocol):
    """What a delta takes from old images; any thread asks, also several at once. It need not be right."""

    def copy(self, operations: Sequence[Operation], window: memoryview) -> Container[int]:
        """Put what operations copy into their window; return which of them copy, by their numbers."""

    def dictionary(self, frame: int, room: memoryview) -> memoryview:
        """Read the dictionary of a frame into a buffer, and return the part that it fills; empty: it needs none."""


_DICTIONARIES_MAX = 4
"""How many dictionaries are in memory at once, for all threads: each has up to 4 MiB, and zstd as much."""
_DICTIONARY_BYTES = DICTIONARY_BLOCKS_MAX * BLOCK_BYTES

Gathered = Mapping[int, Verified]
"""The frames that a window needs, by their numbers."""


class WindowReader:
    """Reads windows, in two steps: one thread gathers what each of them needs, in order; any thread puts them together.

    Windows in order ask for each frame once, but for one with duplicates far back.
    """

    def __init__(self, index: Frames, read: ReadStored, unpacker: Unpacker, old: OldData | None = None) -> None:
        """Read what an index tells of; `read` gives the bytes of the pack, and a delta needs old data."""
        self._old = old
        self._verb = "read" if old is None else "make"
        self._frames = FrameReader(index, read, unpacker.name)
        self._unpacker = unpacker
        self._unpacked = _Unpacked()
        self._dictionaries = threading.BoundedSemaphore(_DICTIONARIES_MAX)
        # Used again and again, the last one first: memory that was never touched costs a fault for each page.
        self._rooms: list[memoryview] = []

    def gather(self, window: Window) -> Gathered:
        """Read and verify the frames that a window needs; for one thread.

        Raises:
            ReleaseDigestError: a frame is not what the index names.
            ManagebootError: what `read` raises.
        """
        needed = {operation.frame for operation in window.operations}
        return {frame: self._frames.frame(frame) for frame in sorted(one for one in needed if one is not None)}

    def put_together(self, image: Image, window: Window, gathered: Gathered, buffer: memoryview) -> None:
        """Fill a buffer with a window, and verify it.

        Args:
            image: the image that the window is of.
            window: the window.
            gathered: what it needs.
            buffer: at least as long as the window, in whole blocks; what is behind the window becomes zeros.

        Raises:
            ReleaseDigestError: the window is not what the index names; the buffer is not to be used.
            ReleaseFormatError: a frame breaks a rule of docs/release-format.md.
        """
        at = 0
        copied = () if self._old is None else self._old.copy(window.operations, buffer)
        for number, operation in enumerate(window.operations):
            end = at + operation.blocks * BLOCK_BYTES
            if number in copied:
                pass
            elif operation.frame is not None:
                begin = operation.first * BLOCK_BYTES
                data = memoryview(self._unpack(gathered[operation.frame]))
                buffer[at:end] = data[begin : begin + end - at]
            else:
                self._fill_alone(operation, buffer[at:end])
            at = end
        length = image.length(window.number)
        if (found := window_digest(buffer[:length])) != window.sha256:
            raise errors.ReleaseDigestError(
                f"cannot {self._verb} window {window.number} of {image.role}: its SHA-256 is {found.hex()}, "
                f"and {window.sha256.hex()} was published"
            )
        buffer[length:at] = bytes(at - length)

    def fill(self, image: Image, window: Window, buffer: memoryview) -> None:
        """Gather what a window needs, and put it together; for one thread.

        Raises:
            ReleaseDigestError, ReleaseFormatError: as `gather` and `put_together`.
            ManagebootError: what `read` raises.
        """
        self.put_together(image, window, self.gather(window), buffer)

    def _fill_alone(self, operation: Operation, target: memoryview) -> None:  # noqa: ARG002  PlannedReader asks which it is
        """Fill what neither a frame nor an old image has."""
        target[:] = bytes(len(target))

    def _unpack(self, frame: Verified) -> bytes:
        def unpack() -> bytes:
            if self._old is None:
                return self._unpacker.unpack_verified(frame)
            with self._room() as room:
                return self._unpacker.unpack_verified(frame, self._old.dictionary(frame.number, room))

        return self._unpacked.get(frame.number, unpack)

    @contextmanager
    def _room(self) -> Iterator[memoryview]:
        """Give a buffer for a dictionary, once there is one."""
        with self._dictionaries:
            try:
                room = self._rooms.pop()
            except IndexError:
                room = memoryview(aligned_buffer(_DICTIONARY_BYTES))
            try:
                yield room
            finally:
                self._rooms.append(room)


class _Unpacked:
    """Keeps the frames that were unpacked last, in case a window needs one again; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent = Recent()
        self._kept: dict[int, bytes] = {}
        self._at_work: dict[int, threading.Event] = {}

    def get(self, number: int, unpack: Callable[[], bytes]) -> bytes:
        """Return a frame; only one thread unpacks it, while others that need it wait."""
        while True:
            with self._lock:
                if (kept := self._kept.get(number)) is not None:
                    self._recent.use(number, len(kept))
                    return kept
                other = self._at_work.get(number)
                if other is None:
                    done = self._at_work[number] = threading.Event()
            if other is None:
                return self._made(number, unpack, done)
            other.wait()

    def _made(self, number: int, unpack: Callable[[], bytes], done: threading.Event) -> bytes:
        try:
            blocks = unpack()
            with self._lock:
                self._kept[number] = blocks
                for dropped in self._recent.use(number, len(blocks)):
                    del self._kept[dropped]
            return blocks
        finally:
            with self._lock:
                del self._at_work[number]
            done.set()
