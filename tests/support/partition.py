"""Partitions that the kernel knows of a disk that has no partition table."""

import ctypes
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.patience import once_free

# <linux/blkpg.h>; Debian 13 has no addpart and delpart any more.
_BLKPG = 0x1269
_ADD, _DELETE = 1, 2


@contextmanager
def partition(disk: str, number: int, node: Path, *, start: int, size: int) -> Iterator[Path]:
    """Make a partition, and a node for it: udev need not be there to make one.

    Args:
        disk: the device.
        number: of the partition.
        node: where the node is made.
        start, size: in bytes.
    """
    known = Path(f"/sys/class/block/{Path(disk).name}p{number}")
    if known.exists():
        # A test that was killed has left it there, and the device is another file's since.
        once_free(lambda: _tell(disk, _DELETE, number))
    _tell(disk, _ADD, number, start, size)
    try:
        major, minor = (known / "dev").read_text().split(":")
        os.mknod(node, 0o600 | stat.S_IFBLK, os.makedev(int(major), int(minor)))
        yield node
    finally:
        once_free(lambda: _tell(disk, _DELETE, number))


def _tell(disk: str, operation: int, number: int, start: int = 0, size: int = 0) -> None:
    entry = ctypes.create_string_buffer(struct.pack("qqi64s64s4x", start, size, number, b"", b""))
    request = struct.pack("iiiP", operation, 0, len(entry), ctypes.addressof(entry))
    with open(disk, "rb") as device:
        fcntl.ioctl(device, _BLKPG, request)
