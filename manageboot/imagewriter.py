"""Write one image to one device, and read it back."""

import mmap
from collections.abc import Callable

from manageboot import errors
from manageboot.blockdev import BlockDevice, aligned_buffer
from manageboot.digest import WINDOW_BYTES, ImageDigest, all_zeros
from manageboot.image import Member
from manageboot.record import ImageRecord

HEAD_BYTES = 64 << 10
"""What is withheld of boot until the end. It holds the superblock of every file system that GRUB can boot from."""

_RUN_BYTES = 64 << 10
"""The unit in which zeros inside a window are told from data."""

_END_BYTES = 4096
"""What is read back at either end of a window of zeros."""


class ImageWriter:
    """Writes one image to one device, in windows; knows its digest, and keeps the head back if asked to."""

    def __init__(self, device: BlockDevice, *, withhold_head: bool) -> None:
        """Write to a device; with withhold_head, all but the first HEAD_BYTES until `publish_head`."""
        self.device = device
        self.size = 0
        """Of the image, in bytes."""
        self._data_size = 0
        self._withhold_head = withhold_head
        self._head: mmap.mmap | None = None
        self._digest = ImageDigest()
        self._buffer = aligned_buffer(WINDOW_BYTES)

    def write(self, member: Member, report: Callable[[], None]) -> None:
        """Write the image; `report` is called after every window.

        Raises:
            ImageTooLargeError: the device is smaller than the image; nothing is written then.
            DataError: the image is bad.
            DeviceError: the device failed.

        Durability: none before the device is flushed.
        """
        if member.size > self.device.size:
            raise errors.ImageTooLargeError(
                f"cannot write {member.name} to {self.device.path}: "
                f"it has {member.size} bytes, the device {self.device.size}"
            )
        self.size = member.size
        self._data_size = member.data_size
        window = memoryview(self._buffer)
        hole = 0
        for offset in range(0, member.size, WINDOW_BYTES):
            length = min(WINDOW_BYTES, member.size - offset)
            part = window[:length]
            if member.readinto(part) and self._digest.add(offset, part):
                self.device.zero(offset - hole, hole)
                hole = 0
                self._write_window(offset, length)
            else:
                hole += self.device.round_up(length)
            report()
        self.device.zero(self.device.round_up(member.size) - hole, hole)

    def verify(self, report: Callable[[int], None]) -> None:
        """Read the image back and compare; the withheld head is compared when it is published.

        Data is read whole. Of a window of zeros, which the device made by its own means, the two ends are read: that
        finds a device that did not do it, or did it elsewhere, without reading gigabytes of nothing.

        Args:
            report: is called after every window with the bytes done.

        Raises:
            ReadBackError: the device holds something else.
            DeviceError: the device failed.
        """
        window = memoryview(self._buffer)
        for offset in range(0, self.size, WINDOW_BYTES):
            length = min(WINDOW_BYTES, self.size - offset)
            if offset in self._digest.windows:
                self._verify_data(offset, length, window)
            else:
                padded = self.device.round_up(length)
                end = min(_END_BYTES, padded)
                for start in (0, padded - end):
                    self._verify_zeros(offset + start, window[:end])
            report(offset + length)

    def publish_head(self) -> None:
        """Write what was withheld.

        Raises:
            ReadBackError: the device holds something else afterwards.
            DeviceError: the device failed.

        Durability: once it returns, the head is on the disk.
        """
        if self._head is None:
            return
        head = memoryview(self._head)
        self.device.write(0, head)
        self.device.flush()
        found = memoryview(self._buffer)[: len(head)]
        self.device.read_into(0, found)
        if found.tobytes() != head.tobytes():
            raise errors.ReadBackError(f"cannot write {self.device.path} at 0: it does not hold what was written")

    def record(self) -> ImageRecord:
        """Return what the record keeps of the image."""
        return ImageRecord(size=self.size, data_size=self._data_size, digest=self._digest.hexdigest(self.size))

    def _write_window(self, offset: int, length: int) -> None:
        window = memoryview(self._buffer)
        padded = self.device.round_up(length)
        window[length:padded] = bytes(padded - length)
        start = 0
        if offset == 0 and self._withhold_head:
            start = min(HEAD_BYTES, padded)
            self._head = aligned_buffer(start)
            memoryview(self._head)[:] = window[:start]
        self._write_runs(offset, window[:padded], start)

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

    def _verify_data(self, offset: int, length: int, window: memoryview) -> None:
        self.device.read_into(offset, window[: self.device.round_up(length)])
        if offset == 0 and self._head is not None:
            window[: len(self._head)] = memoryview(self._head)
        found = ImageDigest()
        found.add(offset, window[:length])
        if found.windows != {offset: self._digest.windows[offset]}:
            expected = _name(self._digest.windows[offset])
            raise self._read_back_error(offset, expected, _name(found.windows.get(offset)))

    def _verify_zeros(self, offset: int, buffer: memoryview) -> None:
        self.device.read_into(offset, buffer)
        if not all_zeros(buffer):
            raise self._read_back_error(offset, _name(None), f"{buffer[:16].hex(' ')} ...")

    def _read_back_error(self, offset: int, expected: str, found: str) -> errors.ReadBackError:
        return errors.ReadBackError(
            f"cannot write {self.device.path} at {offset}: expected {expected}, read back {found}",
            hint="the device does not keep what it is given; see its health, then run upgrade-install again",
        )


def _name(digest: bytes | None) -> str:
    return "zeros" if digest is None else f"sha256 {digest.hex()}"


def wipe(device: BlockDevice, length: int) -> None:
    """Make the first bytes of a device zeros, or all of it if it is smaller.

    Raises:
        ReadBackError: it holds something else afterwards.
        DeviceError: the device failed.

    Durability: once it returns, the zeros are on the disk.
    """
    length = min(length, device.size) // device.block_size * device.block_size
    device.zero(0, length)
    device.flush()
    buffer = memoryview(aligned_buffer(WINDOW_BYTES))
    for offset in range(0, length, WINDOW_BYTES):
        part = buffer[: min(WINDOW_BYTES, length - offset)]
        device.read_into(offset, part)
        if not all_zeros(part):
            raise errors.ReadBackError(f"cannot wipe {device.path} at {offset}: it still holds data")
