"""Where the bytes of a file lie on its device, as far as the kernel tells."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import NamedTuple

from grubenv.errors import Damage

_FIEMAP = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQ16xL12x")
_FS_IOC_FIEMAP = 0xC020660B
_FIBMAP, _FIGETBSZ = 1, 2
_MOST_EXTENTS = 512
_WHOLE_FILE = 2**64 - 1

UNKNOWN, DELAYED, ENCODED, ENCRYPTED, INLINE, TAIL, UNWRITTEN, SHARED = (
    0x2,
    0x4,
    0x8,
    0x80,
    0x200,
    0x400,
    0x800,
    0x2000,
)
"""Flags of an extent. Source: Linux include/uapi/linux/fiemap.h."""
_UNUSUAL = {
    ENCODED: "compressed or encoded",
    ENCRYPTED: "encrypted",
    INLINE: "inside the inode",
    TAIL: "packed together with other files",
    UNWRITTEN: "allocated but never written",
    SHARED: "shared with another file",
}


class Extent(NamedTuple):
    """A run of bytes of the file: where it begins in the file and on the device, how long it is, and its flags."""

    logical: int
    physical: int
    length: int
    flags: int


def extents(descriptor: int) -> list[Extent]:
    """Return the extents of the open file in their order, without forcing anything to the disk.

    Raises:
        OSError: the file system does not tell (EOPNOTSUPP), or tells only root (EPERM).
    """
    buffer = bytearray(_FIEMAP.size + _MOST_EXTENTS * _EXTENT.size)
    _FIEMAP.pack_into(buffer, 0, 0, _WHOLE_FILE, 0, 0, _MOST_EXTENTS, 0)
    try:
        fcntl.ioctl(descriptor, _FS_IOC_FIEMAP, buffer)
    except OSError as exc:
        if exc.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            raise
        return _from_blocks(descriptor)
    count = _FIEMAP.unpack_from(buffer)[3]
    return [Extent(*_EXTENT.unpack_from(buffer, _FIEMAP.size + i * _EXTENT.size)) for i in range(count)]


def _from_blocks(descriptor: int) -> list[Extent]:
    """Ask block by block, as vfat wants it; a block that is not there is a hole."""
    unit = struct.unpack("=i", fcntl.ioctl(descriptor, _FIGETBSZ, bytes(4)))[0]
    found = []
    for index in range(-(-os.fstat(descriptor).st_size // unit)):
        block = struct.unpack("=i", fcntl.ioctl(descriptor, _FIBMAP, struct.pack("=i", index)))[0]
        if block:
            found.append(Extent(index * unit, block * unit, unit, 0))
    return found


def extent_damages(size: int, found: list[Extent]) -> list[Damage]:
    """Return what keeps GRUB from overwriting a file of `size` bytes that lies in these extents."""
    damages = []
    if any(extent.flags & DELAYED for extent in found):
        damages.append(Damage("delayed-allocation", None, "not yet given a place on the disk"))
    for flag, words in _UNUSUAL.items():
        hit = next((extent for extent in found if extent.flags & flag and not extent.flags & DELAYED), None)
        if hit is not None:
            damages.append(Damage("unusual-extent", hit.logical, f"data {words}"))
    position = 0
    for extent in found:
        if extent.logical > position:
            break
        position = max(position, extent.logical + extent.length)
    if position < size:
        damages.append(Damage("sparse", position, "a hole"))
    return damages


def has_hole(descriptor: int) -> bool:
    """Return whether the open file has a hole, for file systems that do not tell their extents."""
    size = os.fstat(descriptor).st_size
    try:
        return size > 0 and os.lseek(descriptor, 0, os.SEEK_HOLE) < size
    except OSError:
        return False
