"""What a block device itself holds, past every cache of the kernel."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Self

from grubenv.storage import ALIGNMENT


class RawDevice:
    """Hold a block device open for direct reading.

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
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the device."""
        os.close(self._descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer at the device's end.

        Raises:
            OSError: the device cannot be read.
        """
        start = offset // ALIGNMENT * ALIGNMENT
        whole = -(-(offset + length) // ALIGNMENT) * ALIGNMENT - start
        with mmap.mmap(-1, whole) as buffer:
            count = os.preadv(self._descriptor, [buffer], start)
            return buffer[offset - start : min(offset - start + length, count)]
