"""Direct access: bytes to and from a device or a file past every cache of the kernel."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Self

ALIGNMENT = 4096
"""Bytes: buffers and lengths that are multiples of this suit every disk's direct access."""


def read_direct(descriptor: int, offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset` on, fewer at the end; the descriptor has O_DIRECT.

    Raises:
        OSError: they cannot be read; EINVAL: not past the cache.
    """
    start = offset // ALIGNMENT * ALIGNMENT
    whole = -(-(offset + length) // ALIGNMENT) * ALIGNMENT - start
    with mmap.mmap(-1, whole) as buffer:
        count = os.preadv(descriptor, [buffer], start)
        return buffer[offset - start : min(offset - start + length, count)]


def write_direct(descriptor: int, data: bytes, offset: int) -> int | None:
    """Write at most `ALIGNMENT` bytes with a single call; the descriptor has O_DIRECT.

    Returns:
        How many were written; None: the disk takes no write of this size or at this offset past the cache.

    Raises:
        OSError: the write failed.
    """
    with mmap.mmap(-1, ALIGNMENT) as buffer:
        buffer[: len(data)] = data
        with memoryview(buffer)[: len(data)] as aligned:
            try:
                return os.pwritev(descriptor, [aligned], offset)
            except OSError as exc:
                if exc.errno == errno.EINVAL:
                    return None
                raise


def first_difference(one: bytes, other: bytes) -> int:
    """Return the offset of the first byte that differs; of equal bytes, their end."""
    both = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in both if a != b), min(len(one), len(other)))


class RawDevice:
    """A block device that is open for direct reading.

    The kernel writes dirty pages of the device's own cache back before it reads them directly. Nothing else is
    written, and nothing of a journal's running transaction.
    """

    def __init__(self, path: str, number: int) -> None:
        """Open the device with this number; in a chroot, its path may lead to anything.

        Raises:
            OSError: it cannot be opened, most likely because only root may, or it is another one.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        if not stat.S_ISBLK(status.st_mode) or status.st_rdev != number:
            os.close(self._descriptor)
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer at the device's end.

        Raises:
            OSError: the device cannot be read.
        """
        return read_direct(self._descriptor, offset, length)
