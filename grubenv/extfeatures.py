"""What GRUB can't read of ext2, ext3 and ext4, though Linux mounts it: the features that the super block names.

GRUB says "unknown filesystem" to all of them, and finds neither the block nor a kernel there.
"""

from __future__ import annotations

import struct

SUPER_OFFSET = 1024
SUPER_BYTES = 1024
_SUPER = struct.Struct("<20xLL28xH18xL16xL")
"""First block, logarithm of the block size less 10, magic, revision, incompatible features."""
_MAGIC = 0xEF53
_FIRST_REVISION = 0
"""The one without features."""
_MOST_LOG_SIZE = 15
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


def unreadable(data: bytes) -> str | None:
    """Return what in a super block keeps GRUB from reading the file system, in e2fsprogs' words; None: nothing.

    Args:
        data: the super block, `SUPER_BYTES` from `SUPER_OFFSET` on.
    """
    if len(data) < SUPER_BYTES:
        return "no whole super block"
    first_block, log_size, magic, revision, incompatible = _SUPER.unpack_from(data)
    if magic != _MAGIC or log_size > _MOST_LOG_SIZE:
        return "no super block"
    # Linux finds the group descriptors behind the super block, GRUB in the block that follows the first one.
    if log_size == 0 and first_block == 0:
        return "bigalloc and blocks of 1 KiB"
    found = [_NAMES.get(1 << bit, f"feature {1 << bit:#x}") for bit in range(32) if incompatible & 1 << bit]
    refused = [name for name in found if name not in _TAKEN]
    return " and ".join(refused) if refused and revision != _FIRST_REVISION else None
