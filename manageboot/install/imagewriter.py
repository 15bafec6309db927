"""Write one image to one device."""

import mmap
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from manageboot import errors
from manageboot.boot.header import HEADER_BYTES
from manageboot.boot.record import ImageRecord
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer, all_zeros, equal
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.image import Member
from manageboot.image.acceptance import Whole
from manageboot.image.member import Prepare
from manageboot.install.pipeline import Buffers

ZEROS_BYTES = 32 << 20
"""How long a window of zeros is at most: nobody can interrupt it, and a device without the offload has to write it."""

SAMPLE_WINDOWS = 16
"""How many windows of an image a commit looks at: 32 MiB of boot and root take a fraction of a second."""

_RUN_BYTES = 64 << 10
"""The unit in which zeros inside a window are told from data."""


@dataclass(slots=True)
class Window:
    """A piece of an image on its way to the device: at most WINDOW_BYTES of data, or ZEROS_BYTES of zeros."""

    image: "ImageWriter"
    offset: int
    """Where it begins, in bytes; a multiple of WINDOW_BYTES."""
    length: int
    """In bytes; no multiple of WINDOW_BYTES only at the end of the image."""
    buffer: memoryview | None
    """What it holds; None for zeros, and when nobody needs it any more."""
    digest: bytes | None = None
    """The SHA-256 of the data; None for zeros."""
    kept: bool = False
    """Whether the device held it already, and was read to know that."""
    prepare: Prepare | None = None
    """What fills the buffer, where it is not filled yet."""


class ImageWriter:
    """Writes one image to one device, in windows; knows its digest, and writes the header last if asked to.

    `windows` and `write` may each be called in a thread of its own, for one window after the other; `hash` in any.
    """

    def __init__(self, device: BlockDevice, *, header_last: bool) -> None:
        """Write to a device; with header_last, all but the first HEADER_BYTES until `write_header`."""
        self.device = device
        self.size = 0
        """Of the image, in bytes."""
        self.written = 0
        """Bytes of data that were written so far."""
        self.kept = 0
        """Bytes of data that the device held already."""
        self.header: mmap.mmap | None = None
        """What is written last, once it is known."""
        self._data_size = 0
        self._landed = 0
        self._landing = threading.Condition()
        self._header_last = header_last
        self._digest = ImageDigest()
        self._found = memoryview(aligned_buffer(WINDOW_BYTES))

    def check_size(self, name: str, size: int) -> None:
        """Make sure that an image of so many bytes fits.

        Raises:
            ImageTooLargeError: the device is smaller.
        """
        if size > self.device.size:
            raise errors.ImageTooLargeError(
                f"cannot write {name} to {self.device.path}: it has {size} bytes, the device {self.device.size}"
            )

    def check_header(self, name: str) -> None:
        """Make sure that the header shows, once it is written.

        Raises:
            ImageMemberError: it is zeros.
        """
        if self.header is None or all_zeros(memoryview(self.header)):
            raise no_header(name, self.size)

    def windows(self, member: Member, buffers: Buffers) -> Iterator[Window]:
        """Cut the image into windows; those in a hole have no buffer.

        Raises:
            ImageTooLargeError: the device is smaller than the image; nothing is given then.
            DataError: the image is bad.
            DeviceError: reading it failed.
        """
        self.check_size(member.name, member.size)
        self.size = member.size
        self._data_size = member.data_size
        buffer = buffers.take()
        offset = 0
        while offset < member.size:
            end = offset + member.skip_hole(WINDOW_BYTES)
            for start in range(offset, end, ZEROS_BYTES):
                yield Window(self, start, min(ZEROS_BYTES, end - start), None)
            offset = end
            if length := min(WINDOW_BYTES, member.size - offset):
                prepare = member.later(buffer, length)
                yield Window(self, offset, length, buffer, prepare=prepare)
                buffer = buffers.take()
                offset += length
        buffers.give_back(buffer)

    def hash(self, window: Window, sha256: bytes | None = None) -> None:
        """Add a window with a buffer to the digest of the image; one of zeros is left without a digest.

        Args:
            window: the window; several may be hashed at once.
            sha256: its SHA-256, where it was compared with that already.
        """
        assert window.buffer is not None
        window.digest = self._digest.add(window.offset, window.buffer[: window.length], sha256)

    def write(self, window: Window, *, skip_identical: bool) -> None:
        """Write a window with a buffer, or zeros; with skip_identical, only if the device holds something else.

        Raises:
            DeviceError: the device failed.

        Durability: none before the device is flushed.
        """
        self._write(window, skip_identical=skip_identical)
        with self._landing:
            self._landed = window.offset + window.length
            self._landing.notify_all()

    def wait_until(self, offset: int, limit_s: float) -> bool:
        """Wait until all before an offset was written, or is known to be there; tell whether it is."""
        with self._landing:
            return self._landing.wait_for(lambda: self._landed >= offset, limit_s)

    def _write(self, window: Window, *, skip_identical: bool) -> None:
        if window.buffer is None:
            self.device.zero(window.offset, self.device.round_up(window.length))
            return
        padded = self.device.round_up(window.length)
        window.buffer[window.length : padded] = bytes(padded - window.length)
        start = 0
        if window.offset == 0 and self._header_last:
            start = min(HEADER_BYTES, padded)
            self.header = aligned_buffer(start)
            memoryview(self.header)[:] = window.buffer[:start]
        elif skip_identical and self._holds(window.offset, window.buffer[:padded]):
            window.kept = True
            self.kept += padded
            return
        self._write_runs(window.offset, window.buffer[:padded], start)

    def write_header(self) -> None:
        """Write the header, which comes last.

        Raises:
            ReadBackError: the device holds something else afterwards.
            DeviceError: the device failed.

        Durability: once it returns, the header is on the disk.
        """
        if self.header is None:
            return
        header = memoryview(self.header)
        self.device.write(0, header)
        self.written += len(header)
        self.device.flush()
        found = self._found[: len(header)]
        self.device.read_into(0, found)
        if not equal(found, header):
            raise errors.ReadBackError(f"cannot write {self.device.path} at 0: it does not hold what was written")

    def whole(self) -> Whole:
        """Return what is known of the image, now that it was read to its end."""
        return Whole(self.size, not self._digest.windows, self._digest.hexdigest(self.size))

    def record(self) -> ImageRecord:
        """Return what the record keeps of the image."""
        return ImageRecord(
            size=self.size,
            data_size=self._data_size,
            digest=self._digest.hexdigest(self.size),
            sample=self._digest.sample(SAMPLE_WINDOWS),
        )

    def _holds(self, offset: int, data: memoryview) -> bool:
        found = self._found[: len(data)]
        self.device.read_into(offset, found)
        return equal(found, data)

    def _write_runs(self, offset: int, window: memoryview, start: int) -> None:
        """Write the data of a window and zero the rest, in as few requests as possible."""
        runs: list[tuple[bool, int, int]] = []
        for position in range(start, len(window), _RUN_BYTES):
            end = min(position + _RUN_BYTES, len(window))
            zeros = all_zeros(window[position:end])
            if runs and runs[-1][0] == zeros:
                runs[-1] = (zeros, runs[-1][1], end)
            else:
                runs.append((zeros, position, end))
        for zeros, position, end in runs:
            if zeros:
                self.device.zero(offset + position, end - position)
            else:
                self.device.write(offset + position, window[position:end])
                self.written += end - position


def no_header(name: str, size: int) -> errors.ImageMemberError:
    """Make the error for an image whose header comes last, and is zeros: what an interrupted run leaves.

    No GRUB finds a file system there, and no commit takes the slot for whole.
    """
    zeros = min(HEADER_BYTES, size)
    return errors.ImageMemberError(
        f"cannot install {name}: it begins with {zeros} bytes of zeros, so there is no file system in it"
    )
