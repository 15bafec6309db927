"""Frames, each unpacked by the first thread that needs it, and kept for a while in case others do."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from manageboot.disk.buffer import aligned_buffer
from manageboot.release.deltalayout import DICTIONARY_BLOCKS_MAX
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.stored import Recent, Verified

DICTIONARIES_MAX = 4
"""How many dictionaries of a pack are in memory at once, for all threads: each has up to 4 MiB, and zstd as much."""
_DICTIONARY_BYTES = DICTIONARY_BLOCKS_MAX * BLOCK_BYTES


class Dictionaries(Protocol):
    """The dictionaries of frames; any thread asks, also several at once. They need not be right."""

    def dictionary(self, frame: int, room: memoryview) -> memoryview:
        """Read the dictionary of a frame into a buffer, and return the part that it fills; empty: it needs none."""


class Unpacked:
    """The frames of one pack; any thread may ask."""

    def __init__(
        self, unpacker: Unpacker, dictionaries: Dictionaries | None = None, *, at_once: int = DICTIONARIES_MAX
    ) -> None:
        """Unpack frames.

        Args:
            unpacker: unpacks one.
            dictionaries: those of the frames of a delta.
            at_once: how many of them may be in memory.
        """
        self._unpacker = unpacker
        self._dictionaries = dictionaries
        self._in_memory = threading.BoundedSemaphore(at_once)
        # Used again and again, the last one first: memory that was never touched costs a fault for each page.
        self._rooms: list[memoryview] = []
        self._lock = threading.Lock()
        self._recent = Recent()
        self._kept: dict[int, bytes] = {}
        self._at_work: dict[int, threading.Event] = {}

    def get(self, number: int, stored: Callable[[], Verified]) -> bytes:
        """Return the blocks of a frame; only one thread unpacks it, while others that need it wait.

        Args:
            number: of the frame.
            stored: gives it, as it is stored.

        Raises:
            ReleaseFormatError: it breaks a rule of docs/release-format.md.
            ManagebootError: what `stored` raises.
        """
        while True:
            with self._lock:
                if (kept := self._kept.get(number)) is not None:
                    self._recent.use(number, len(kept))
                    return kept
                other = self._at_work.get(number)
                if other is None:
                    done = self._at_work[number] = threading.Event()
            if other is None:
                return self._made(number, stored, done)
            other.wait()

    def _made(self, number: int, stored: Callable[[], Verified], done: threading.Event) -> bytes:
        try:
            blocks = self._unpack(stored())
            with self._lock:
                self._kept[number] = blocks
                for dropped in self._recent.use(number, len(blocks)):
                    del self._kept[dropped]
            return blocks
        finally:
            with self._lock:
                del self._at_work[number]
            done.set()

    def _unpack(self, frame: Verified) -> bytes:
        if self._dictionaries is None:
            return self._unpacker.unpack_verified(frame)
        with self._room() as room:
            return self._unpacker.unpack_verified(frame, self._dictionaries.dictionary(frame.number, room))

    @contextmanager
    def _room(self) -> Iterator[memoryview]:
        """Give a buffer for a dictionary, once there is one."""
        with self._in_memory:
            try:
                room = self._rooms.pop()
            except IndexError:
                room = memoryview(aligned_buffer(_DICTIONARY_BYTES))
            try:
                yield room
            finally:
                self._rooms.append(room)
