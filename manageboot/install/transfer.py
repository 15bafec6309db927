"""The way of an update image to the devices: read and decompress, hash, write, read back, all at the same time."""

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping

from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION, Member, UpdateImage
from manageboot.image.version import Version, read_version
from manageboot.install.imagewriter import ZEROS_BYTES, ImageWriter, Window
from manageboot.install.pipeline import Buffers, Parallel, Pipeline, Stage
from manageboot.install.progress import Counts
from manageboot.install.readback import BATCH_WINDOWS, ReadBack

_BUFFERS_AHEAD = 16
"""Enough that no stage waits for the one behind it because of a single slow request; more made nothing faster."""

# Source: malloc.h, and mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_ARENAS = 2
_KEPT_BYTES = 16 << 20
"""What an arena keeps of what was freed."""

_THREADS_MAX = 8
"""How many threads unpack and hash, at most: each takes memory, and no device keeps up with more."""


class Transfer:
    """Brings the images of one update image to their devices, once."""

    def __init__(
        self,
        update: UpdateImage,
        writers: Mapping[str, ImageWriter],
        *,
        skip_identical: bool,
        verify: bool,
        often: bool = False,
        waits: bool = False,
    ) -> None:
        """Prepare to bring the images to their writers.

        Args:
            update: where they come from.
            writers: where each image goes, by the name of its member.
            skip_identical: whether to read what the devices hold, and to write only what differs.
            verify: whether to read back what was written.
            often: whether to flush once a second, as what a reset takes has to be fetched again.
            waits: whether windows are put together of old data, so that threads wait for a disk: then there is one more
                of them than there are processors.
        """
        self.version = Version()
        """What the update image calls itself, once it has been read."""
        self._update = update
        self._writers = writers
        self._skip_identical = skip_identical
        self._read_back = ReadBack(compare=verify, often=often)
        self._verify = verify
        self._threads = min(len(os.sched_getaffinity(0)) + waits, _THREADS_MAX)
        # What is read back is compared with the buffers that it was written from, so those are kept until then.
        self._buffers = Buffers(_BUFFERS_AHEAD + (BATCH_WINDOWS if verify else 0), WINDOW_BYTES)

    @property
    def counts(self) -> Counts:
        """How far it is; any thread may ask."""
        written = sum(writer.written for writer in self._writers.values())
        kept = sum(writer.kept for writer in self._writers.values())
        return Counts(self._update.bytes_read, written, kept, self._read_back.bytes_read)

    def run(self, members: Iterator[Member], report: Callable[[], None]) -> None:
        """Write all members, and read the input to its end.

        Args:
            members: those of the update image.
            report: is called ten times a second.

        Raises:
            DataError: the update image is bad, or too large.
            DeviceError: reading or writing failed, or a device does not hold what was written.

        Durability: once it returns, the images are on the disk, all but the header that comes last.
        """
        stages: dict[str, Stage | Parallel] = {
            "decompress": lambda _: self._read(members),
            "hash": Parallel(self._hash, self._threads),
            "write": self._write,
            "verify": self._read_back_and_release,
        }
        _share_memory()
        Pipeline(self._buffers, self._update.cancel).run(stages, report)

    def _read(self, members: Iterator[Member]) -> Iterator[Window]:
        for member in members:
            if member.name == VERSION:
                self.version = read_version(member)
            else:
                yield from self._writers[member.name].windows(member, self._buffers)

    def _hash(self, window: Window) -> Callable[[], Window]:
        fill = None if window.prepare is None else window.prepare()

        def hashed() -> Window:
            if window.buffer is not None:
                window.image.hash(window, None if fill is None else fill())
                if window.digest is None:
                    self._release(window)
            return window

        return hashed

    def _write(self, windows: Iterator[Window]) -> Iterator[Window]:
        for window in _merge_zeros(windows):
            window.image.write(window, skip_identical=self._skip_identical)
            if not self._verify or window.kept:
                self._release(window)
            yield window

    def _read_back_and_release(self, windows: Iterator[Window]) -> Iterator[Window]:
        for window in self._read_back.stage(windows):
            self._release(window)
            yield window

    def _release(self, window: Window) -> None:
        if window.buffer is not None:
            self._buffers.give_back(window.buffer)
            window.buffer = None


def _share_memory() -> None:
    """Let threads share what was freed: else each keeps the largest frame and the largest dictionary that it had.

    And let them keep it: each frame that is read or unpacked would be given back to the kernel, and cost a fault for
    each of its pages when the next one comes.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)


def _merge_zeros(windows: Iterator[Window]) -> Iterator[Window]:
    """Make one of neighbouring windows of zeros, up to ZEROS_BYTES: the device then gets one request for them.

    One that had to be prepared is not held back: what is prepared later may be read from where it lands.
    """
    zeros: Window | None = None
    for window in windows:
        is_hole = window.buffer is None and window.prepare is None
        if zeros is not None:
            room = ZEROS_BYTES - zeros.length
            if is_hole and window.image is zeros.image and window.length <= room:
                zeros.length += window.length
                continue
            yield zeros
            zeros = None
        if is_hole:
            zeros = window
        else:
            yield window
    if zeros is not None:
        yield zeros
