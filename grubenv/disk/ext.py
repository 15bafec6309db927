"""Reading ext2, ext3 and ext4 from the device alone, as GRUB does, which replays no journal; and what it can't read.

Nothing on the device is trusted: what lies outside of it, or makes no sense, ends in an error.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Reader = Callable[[int, int], bytes]
    """Return so many bytes of the device from an offset on."""

_SUPER = struct.Struct("<20xLL12xL12xH18xL8xH6xL")
"""First block, logarithm of the block size less 10, inodes per group, magic, revision, inode size, incompatible
features."""
SUPER_OFFSET = 1024
SUPER_BYTES = 1024
_MAGIC = 0xEF53
_META_GROUPS, _WIDE = 0x10, 0x80
_EXTENTS_FLAG = 0x80000
_EXTENT_MAGIC = 0xF30A
_INODE_EXTENTS = 4
"""How many fit into an inode."""
_LEAST_INODE_BYTES = 128
_MOST_LOG_SIZE = 6
"""Blocks of 64 KiB."""
_DESCRIPTOR_SIZES = frozenset({32, 64, 128, 256, 512, 1024})
_MOST_OFFSET = 1 << 62
_DIRECT_BLOCKS = 12
_MOST_BYTES = 4 * 1024 * 1024
_FIRST_REVISION = 0
"""The one without features."""
_MOST_LOG_SIZE_GRUB = 15
_NAMES = {
    0x1: "compression",
    0x2: "filetype",
    0x4: "needs_recovery",
    0x8: "journal_dev",
    0x10: "meta_bg",
    0x40: "extent",
    0x80: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    0x1000: "dirdata",
    0x2000: "metadata_csum_seed",
    0x4000: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
"""What e2fsprogs call the incompatible features. Source: Linux Documentation/filesystems/ext4/super.rst."""
_TAKEN = frozenset({
    "filetype", "needs_recovery", "meta_bg", "extent", "64bit", "mmp", "flex_bg", "encrypt",
    "metadata_csum_seed", "large_dir",
})  # fmt: skip
"""Those that GRUB knows or can ignore. The last two came with 2.12; Debian 12's 2.06 has them, the original has not.

Source: GRUB grub-core/fs/ext2.c, EXT2_DRIVER_SUPPORTED_INCOMPAT and EXT2_DRIVER_IGNORED_INCOMPAT.
"""


class UnknownLayoutError(Exception):
    """The file system has a layout that this small reader does not know."""


class Geometry(NamedTuple):
    """What of the super block is needed to find an inode."""

    block_size: int
    first_block: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int


def unreadable(data: bytes) -> str | None:
    """Return what in a super block keeps GRUB from reading the file system, in e2fsprogs' words; None: nothing.

    Args:
        data: the super block, `SUPER_BYTES` from `SUPER_OFFSET` on.
    """
    if len(data) < SUPER_BYTES:
        return "no whole super block"
    first_block, log_size, _, magic, revision, _, incompatible = _SUPER.unpack_from(data)
    if magic != _MAGIC or log_size > _MOST_LOG_SIZE_GRUB:
        return "no super block"
    # Linux finds the group descriptors behind the super block, GRUB in the block that follows the first one.
    if log_size == 0 and first_block == 0:
        return "bigalloc and blocks of 1 KiB"
    found = [_NAMES.get(1 << bit, f"feature {1 << bit:#x}") for bit in range(32) if incompatible & 1 << bit]
    refused = [name for name in found if name not in _TAKEN]
    return " and ".join(refused) if refused and revision != _FIRST_REVISION else None


def geometry(read: Reader) -> Geometry:
    """Return the geometry from the super block.

    Raises:
        UnknownLayoutError: there is no such file system, or its group descriptors lie elsewhere.

    Source: Linux Documentation/filesystems/ext4/super.rst.
    """
    data = _whole(read, SUPER_OFFSET, SUPER_BYTES)
    first_block, log_size, inodes_per_group, magic, _, inode_size, incompatible = _SUPER.unpack_from(data)
    if magic != _MAGIC or incompatible & _META_GROUPS:
        message = "no ext file system with plain group descriptors"
        raise UnknownLayoutError(message)
    descriptor_size = struct.unpack_from("<H", data, 0xFE)[0] if incompatible & _WIDE else 32
    sizes = log_size <= _MOST_LOG_SIZE and _LEAST_INODE_BYTES <= inode_size <= 1024 << log_size
    if not sizes or not inodes_per_group or descriptor_size not in _DESCRIPTOR_SIZES:
        message = "the super block makes no sense"
        raise UnknownLayoutError(message)
    return Geometry(1024 << log_size, first_block, inodes_per_group, inode_size, descriptor_size)


def read_inode(read: Reader, form: Geometry, number: int) -> bytes:
    """Return the content of the file or directory with this inode number, empty if the inode is free.

    Raises:
        UnknownLayoutError: its blocks are listed outside of the inode, it is very large, or there is no such inode.

    Source: Linux Documentation/filesystems/ext4/inodes.rst and ifork.rst.
    """
    group, index = divmod(number - 1, form.inodes_per_group)
    place = (form.first_block + 1) * form.block_size + group * form.descriptor_size
    descriptor = _whole(read, place, form.descriptor_size)
    table = struct.unpack_from("<L", descriptor, 8)[0]
    if form.descriptor_size > 32:
        table |= struct.unpack_from("<L", descriptor, 0x28)[0] << 32
    inode = _whole(read, table * form.block_size + index * form.inode_size, form.inode_size)
    if inode[:2] == b"\0\0":
        return b""
    size = struct.unpack_from("<L", inode, 4)[0] | struct.unpack_from("<L", inode, 0x6C)[0] << 32
    flags = struct.unpack_from("<L", inode, 0x20)[0]
    if size > _MOST_BYTES:
        message = f"inode {number} has {size} bytes"
        raise UnknownLayoutError(message)
    blocks = _extent_blocks(inode) if flags & _EXTENTS_FLAG else _listed_blocks(inode, -(-size // form.block_size))
    data = bytearray(-(-size // form.block_size) * form.block_size)
    for logical, physical in blocks:
        if physical and logical * form.block_size < size:
            block = _whole(read, physical * form.block_size, form.block_size)
            data[logical * form.block_size : (logical + 1) * form.block_size] = block
    return bytes(data[:size])


def find_entry(directory: bytes, name: bytes, block_size: int) -> int | None:
    """Return the inode number of `name` in the bytes of a directory, or None.

    Source: Linux Documentation/filesystems/ext4/directory.rst; hash trees look like linear blocks here.
    """
    for start in range(0, len(directory), block_size):
        position = start
        while position + 8 <= min(start + block_size, len(directory)):
            number, length, name_length = struct.unpack_from("<LHB", directory, position)
            if number and directory[position + 8 : position + 8 + name_length] == name:
                return int(number)
            if length < 8:
                break
            position += length
    return None


def _whole(read: Reader, offset: int, length: int) -> bytes:
    data = read(offset, length) if offset + length <= _MOST_OFFSET else b""
    if len(data) < length:
        message = f"it leads to byte {offset}, where there is nothing"
        raise UnknownLayoutError(message)
    return data


def _extent_blocks(inode: bytes) -> Iterator[tuple[int, int]]:
    magic, count, _, depth = struct.unpack_from("<HHHH", inode, 0x28)
    if magic != _EXTENT_MAGIC or depth or count > _INODE_EXTENTS:
        message = "extents lie outside of the inode"
        raise UnknownLayoutError(message)
    for index in range(count):
        logical, length, high, low = struct.unpack_from("<LHHL", inode, 0x34 + 12 * index)
        for step in range(length if length <= 0x8000 else 0):  # longer ones were allocated but never written
            yield logical + step, (high << 32 | low) + step


def _listed_blocks(inode: bytes, count: int) -> Iterator[tuple[int, int]]:
    if count > _DIRECT_BLOCKS:
        message = "blocks are listed outside of the inode"
        raise UnknownLayoutError(message)
    yield from enumerate(struct.unpack_from(f"<{count}L", inode, 0x28))
