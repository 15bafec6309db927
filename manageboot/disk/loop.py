"""Loop devices: a part of a disk or of an image as a block device of its own.

They are autoclear: the kernel detaches each with its last user, so none is left however this process ends.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from manageboot import errors
from manageboot.system import console

# Source: linux/loop.h.
_CONTROL = "/dev/loop-control"
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_CONFIG = struct.Struct("=LL 24x QQ 12x L 64s 112x 64x")
"""File, block size; offset, size limit, flags and name; the rest is zeros."""
_NAME_BYTES = 63

_TRIES = 64
"""Others may take a free one before it is used here."""


@contextmanager
def attached(file: int, name: str, *, offset: int, size: int, block_size: int, read_only: bool) -> Iterator[str]:
    """Make a loop device over a part of an open file or device for the time of a with block; give its path.

    Args:
        file: the descriptor; open for writing, unless read_only.
        name: what `losetup` shows for it.
        offset: where the part begins, in bytes, a multiple of block_size.
        size: its length in bytes.
        block_size: what the device reports, in bytes.
        read_only: whether writes are refused.

    Raises:
        DeviceError, NotPermittedError: there is none to be had.
    """
    # Past the page cache of what is below, where that can be: a read-back is of the medium then.
    flags = _AUTOCLEAR | _DIRECT_IO | (_READ_ONLY if read_only else 0)
    config = _CONFIG.pack(file, block_size, offset, size, flags, os.fsencode(name)[:_NAME_BYTES])
    descriptor, path = _configure(config, os.O_RDONLY if read_only else os.O_RDWR)
    try:
        if console.debug:
            console.debug("device: %s is %s, %d bytes from %d on", path, name, size, offset)
        yield path
    finally:
        os.close(descriptor)


def _configure(config: bytes, mode: int) -> tuple[int, str]:
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
        try:
            for _ in range(_TRIES):
                path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
                descriptor = os.open(path, mode | os.O_CLOEXEC)
                try:
                    fcntl.ioctl(descriptor, _LOOP_CONFIGURE, config)
                except OSError as error:
                    os.close(descriptor)
                    if error.errno != errno.EBUSY:
                        raise
                else:
                    return descriptor, path
        finally:
            os.close(control)
    except OSError as error:
        raise errors.from_os_error(error, "make a loop device") from error
    raise errors.DeviceError(f"cannot make a loop device: others took {_TRIES} of them first")
