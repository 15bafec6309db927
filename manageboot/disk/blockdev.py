"""A block device, opened for one writer: aligned direct writes, zero ranges, flush, reads past the cache."""

import errno
import fcntl
import os
import stat
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

from manageboot import errors
from manageboot.disk import sysfs
from manageboot.disk.buffer import aligned_buffer, all_zeros
from manageboot.system import console

# Source: linux/fs.h.
_BLKSSZGET = 0x1268
_BLKROGET = 0x125E
_BLKGETSIZE64 = 0x80081272
_BLKZEROOUT = 0x127F

# A request of the kernel's can't be interrupted; on a device that has to write the zeros this is below a second.
_ZERO_STEP_BYTES = 64 << 20

_SEARCH_STEP_BYTES = 1 << 20
"""The step in which zeros are looked for: before they are written without the offload, and after a wipe."""
_PROBE_BYTES = 4096


class BlockDevice:
    """One block device, as a context manager.

    Offsets and lengths are in bytes and multiples of `block_size`; buffers start at one of 4,096. Reads and writes
    bypass the page cache; where a device can't do that, writes are cached, and reads follow a flush and drop the cache
    first.
    """

    def __init__(self, path: str, *, shared: bool = False) -> None:
        """Open a device for reading and writing, exclusively; with shared, for reading, whoever else uses it.

        Raises:
            DeviceBusyError: it is mounted, or in use by another program or device.
            DeviceMissingError: it is not there.
            DeviceError, NotPermittedError: it can't be opened.
        """
        self.path = path
        self.direct = True
        # For a block device O_EXCL means: nobody else has it exclusively, a mounted file system included.
        self._mode = os.O_RDONLY if shared else os.O_RDWR | os.O_EXCL
        try:
            # First: a pipe would wait for a writer, and some devices do something when they are opened.
            if not stat.S_ISBLK(os.stat(path).st_mode):
                raise errors.DeviceMissingError(f"cannot open {path}: it is not a block device")
            self._descriptor = self._open(os.O_DIRECT)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise self._open_error(error) from error
            self.direct = False
            try:
                self._descriptor = self._open(0)
            except OSError as again:
                raise self._open_error(again) from again
        try:
            read_only = self._query(_BLKROGET, "i")
            self.size: int = self._query(_BLKGETSIZE64, "Q")
            self.block_size: int = self._query(_BLKSSZGET, "i")
        except OSError as error:
            os.close(self._descriptor)
            raise errors.DeviceMissingError(f"cannot open {path}: it is not a block device") from error
        if read_only and not shared:
            os.close(self._descriptor)
            raise errors.NotPermittedError(f"cannot open {path}: it is read-only", hint="see blockdev --setrw")
        self.zeroes_itself = _has_zeroes_offload(os.fstat(self._descriptor).st_rdev)
        """Whether the device makes zeros without being sent them, as far as is known before the first time."""
        self._has_made_zeros = False
        if console.debug:
            ways = ("past" if self.direct else "through", "makes zeros" if self.zeroes_itself else "makes no zeros")
            told = "open %s: %d bytes, blocks of %d, %s the cache, the device %s"
            console.debug(told, path, self.size, self.block_size, *ways)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the device. What was not flushed may be lost."""
        os.close(self._descriptor)

    def write(self, offset: int, data: memoryview) -> None:
        """Write data at offset.

        Raises:
            DeviceError: the device took less, or failed.

        Durability: none before `flush`.
        """
        try:
            written = os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            raise errors.from_os_error(error, f"write {len(data)} bytes to {self.path} at {offset}") from error
        if written != len(data):
            raise errors.DeviceError(
                f"cannot write {len(data)} bytes to {self.path} at {offset}: only {written} were taken"
            )
        if console.debug:
            console.debug("write %s at %d, %d bytes", self.path, offset, written)

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zeros, by the device's own means where it has any.

        Where it has none, zeros would be written like data. There it is read first: data shows in the first block of a
        step, and a step that holds zeros already is left alone. And it is read afterwards: the kernel cuts a step into
        smaller writes, and a loop device takes one of which a part failed for one that succeeded.

        Raises:
            ReadBackError: it holds something else afterwards, where it was written like data.
            DeviceError: the device failed.

        Durability: none before `flush`.
        """
        end = offset + length
        while offset < end:
            size = min(_ZERO_STEP_BYTES if self.zeroes_itself else _SEARCH_STEP_BYTES, end - offset)
            if self.zeroes_itself or not self._holds_zeros(offset, size):
                self._zero(offset, size)
                self._check_zeros(offset, size)
            elif console.debug:
                console.debug("leave %s at %d, %d bytes: zeros are there", self.path, offset, size)
            offset += size

    def _check_zeros(self, offset: int, length: int) -> None:
        """Make sure of zeros that were written like data."""
        if self.zeroes_itself and not self._has_made_zeros:
            # It may say so and can't, as a loop device over a file system that can't. The kernel notes that at the
            # first request, and writes the zeros.
            self.zeroes_itself = _has_zeroes_offload(os.fstat(self._descriptor).st_rdev)
            self._has_made_zeros = True
        if self.zeroes_itself:
            return
        for start in range(offset, offset + length, _SEARCH_STEP_BYTES):
            if not self._holds_zeros(start, min(_SEARCH_STEP_BYTES, offset + length - start)):
                raise errors.ReadBackError(
                    f"cannot write {self.path} at {start}: expected zeros, read back something else",
                    hint="the device does not keep what it is given; see its health, then run upgrade-install again",
                )

    def _zero(self, offset: int, length: int) -> None:
        try:
            fcntl.ioctl(self._descriptor, _BLKZEROOUT, struct.pack("QQ", offset, length))
        except OSError as error:
            raise errors.from_os_error(error, f"zero {length} bytes of {self.path} at {offset}") from error
        if console.debug:
            console.debug("zero %s at %d, %d bytes", self.path, offset, length)

    def _holds_zeros(self, offset: int, length: int) -> bool:
        buffer = memoryview(aligned_buffer(length))
        for part in (buffer[: self.round_up(_PROBE_BYTES)], buffer):
            self.read_into(offset, part)
            if not all_zeros(part):
                return False
        return True

    def flush(self) -> None:
        """Force down everything that was written.

        Raises:
            DeviceError: it failed. That is final: the kernel may have dropped the data, so it is not tried again.

        Durability: all writes before the call survive a power cut.
        """
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise errors.from_os_error(error, f"flush {self.path}") from error
        if console.debug:
            console.debug("flush %s", self.path)

    def read_into(self, offset: int, *buffers: memoryview) -> None:
        """Fill buffers from the medium, not from the page cache: what lies one after the other, in one request.

        Raises:
            DeviceError: the device gave less, or failed.
        """
        length = sum(map(len, buffers))
        try:
            if not self.direct:
                os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
            count = os.preadv(self._descriptor, buffers, offset)
        except OSError as error:
            raise errors.from_os_error(error, f"read {length} bytes of {self.path} at {offset}") from error
        if count != length:
            raise errors.DeviceError(f"cannot read {length} bytes of {self.path} at {offset}: got {count}")
        if console.debug:
            console.debug("read %s at %d, %d bytes", self.path, offset, count)

    def round_up(self, length: int) -> int:
        """Round a length in bytes up to whole blocks of the device."""
        return -(-length // self.block_size) * self.block_size

    def _open(self, flags: int) -> int:
        return os.open(self.path, self._mode | os.O_CLOEXEC | flags)

    def _open_error(self, error: OSError) -> errors.ManagebootError:
        doing = f"open {self.path}"
        if error.errno == errno.EBUSY:
            return errors.from_os_error(
                error, doing, errors.DeviceBusyError, hint="it is mounted or otherwise in use; see findmnt and lsblk"
            )
        if error.errno in {errno.ENOENT, errno.ENXIO, errno.ENODEV}:
            return errors.from_os_error(error, doing, errors.DeviceMissingError)
        return errors.from_os_error(error, doing)

    def _query(self, request: int, layout: str) -> int:
        answer = fcntl.ioctl(self._descriptor, request, bytes(struct.calcsize(layout)))
        return int(struct.unpack(layout, answer)[0])


def drop_cache(descriptor: int) -> None:
    """Have the kernel forget what it read of an open disk or image, where it can: the next reading is of the medium."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)


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
    buffer = memoryview(aligned_buffer(_SEARCH_STEP_BYTES))
    for offset in range(0, length, _SEARCH_STEP_BYTES):
        part = buffer[: min(_SEARCH_STEP_BYTES, length - offset)]
        device.read_into(offset, part)
        if not all_zeros(part):
            raise errors.ReadBackError(f"cannot wipe {device.path} at {offset}: it still holds data")


def _has_zeroes_offload(number: int) -> bool:
    """Tell from a device number. Source: linux, Documentation/ABI/stable/sysfs-block, write_zeroes_max_bytes."""
    directory = sysfs.numbered(number)
    # A partition has no queue of its own.
    disk = os.path.dirname(directory) if sysfs.is_partition(directory) else directory
    with suppress(OSError):
        if sysfs.integer(disk, "queue/write_zeroes_max_bytes") == 0:
            return False
        file = sysfs.attribute(disk, "loop/backing_file")
        if file is None:
            return True
        # A loop device says so of itself whatever it lies on; over a disk that can't, the kernel writes the zeros.
        below = os.stat(file.encode("utf-8", "surrogateescape"))
        return not stat.S_ISBLK(below.st_mode) or _has_zeroes_offload(below.st_rdev)
    return False
