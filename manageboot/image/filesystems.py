"""Recognise by its first bytes what a partition may hold: file systems, and the volumes that file systems lie in.

Source: the superblocks as the Linux kernel, GRUB and util-linux's libblkid read them.
"""

import struct

_SECTOR = 512
_MIB_16TH = 64 << 10
_NAMED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"hsqs", "a squashfs file system"),
    (0, b"sqsh", "a squashfs file system"),
    (0, b"XFSB", "an xfs file system"),
    (0, b"\x45\x3d\xcd\x28", "a cramfs file system"),
    (0, b"-rom1fs-", "a romfs file system"),
    (0, b"UBI#", "a UBI volume"),
    (0, b"\x31\x18\x10\x06", "a UBIFS file system"),
    (3, b"EXFAT   ", "an exFAT file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (1024, b"\xe2\xe1\xf5\xe0", "an erofs file system"),
    (1024, b"\x10\x20\xf5\xf2", "an f2fs file system"),
    (1024, b"H+\0\4", "an HFS+ file system"),
    (1024, b"HX\0\5", "an HFS+ file system"),
    (4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"), "a bcache device"),
    (4096 + 24, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef"), "a bcachefs file system"),
    ((8 << 10) + 52, b"ReIsEr", "a reiserfs file system"),
    (_MIB_16TH + 52, b"ReIsEr", "a reiserfs file system"),
    (_MIB_16TH + 64, b"_BHRfS_M", "a btrfs file system"),
    (_MIB_16TH, b"\x01\x16\x19\x70", "a GFS2 file system"),
    (32 << 10, b"JFS1", "a JFS file system"),
    ((32 << 10) + 1, b"CD001", "an ISO 9660 file system"),
    ((32 << 10) + 1, b"BEA01", "a UDF file system"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (0, b"verity\0\0", "a dm-verity hash tree"),
    (0, b"integrt\0", "a dm-integrity volume"),
    *((sector * _SECTOR, b"LABELONE", "an LVM physical volume") for sector in range(4)),
    (0, b"\xfc\x4e\x2b\xa9", "a member of a RAID"),
    (4096, b"\xfc\x4e\x2b\xa9", "a member of a RAID"),
    (4096 - 10, b"SWAPSPACE2", "swap space"),
)

_EXT_SUPERBLOCK = struct.Struct("<LL16xL28xH18xL8xHHLL")
"""At byte 1024: inodes, blocks, logarithm of the block size, magic, revision, and, for revision 1, inode size, group of
this superblock, compatible and incompatible features."""
_EXT_MAGIC = 0xEF53
_EXT_LARGEST_BLOCK = 6  # 64 KiB: 1024 << 6
_EXT_HAS_JOURNAL = 0x4
_EXT4_FEATURES = 0x2C0  # extents, 64bit, flex_bg

_NILFS = struct.Struct("<LHHHH")
"""At byte 1024: revision, minor revision, magic, bytes of the superblock, flags."""
_NILFS_MAGIC = 0x3434

_FAT_PARAMETERS = struct.Struct("<HBHBHHBH")
"""At byte 11: bytes of a sector, sectors of a cluster, reserved sectors, tables, root entries, sectors, medium, sectors
of a table."""
_FAT_JUMPS = (b"\xeb", b"\xe9")


def file_system(head: bytes) -> str | None:
    """Name what a partition may hold, as in "it is ..."; None for what is not known to be such a thing.

    Args:
        head: its first content.HEAD_BYTES.
    """
    if (ext := _ext(head)) is not None:
        return ext
    if _is_fat(head):
        return "a FAT file system"
    if _is_nilfs(head):
        return "a NILFS2 file system"
    return next((what for offset, magic, what in _NAMED if head.startswith(magic, offset)), None)


def _ext(head: bytes) -> str | None:
    """Name the version of ext; its magic alone has two bytes, which other data may have there too."""
    if len(head) < 2048:
        return None
    inodes, blocks, block_size, magic, revision, inode_size, _group, compatible, incompatible = (
        _EXT_SUPERBLOCK.unpack_from(head, 1024)
    )
    if magic != _EXT_MAGIC or not inodes or not blocks or block_size > _EXT_LARGEST_BLOCK or revision > 1:
        return None
    if revision == 0:
        return "an ext2 file system"
    if inode_size < 128 or inode_size & (inode_size - 1):
        return None
    if incompatible & _EXT4_FEATURES:
        return "an ext4 file system"
    return "an ext3 file system" if compatible & _EXT_HAS_JOURNAL else "an ext2 file system"


def _is_nilfs(head: bytes) -> bool:
    if len(head) < 2048:
        return False
    superblock: tuple[int, ...] = _NILFS.unpack_from(head, 1024)
    revision, _minor, magic, size, _flags = superblock
    return magic == _NILFS_MAGIC and revision == 2 and 256 <= size <= 1024


def _is_fat(head: bytes) -> bool:
    """Tell a boot sector with the parameters of a FAT from one with a partition table: both may end in 55 AA."""
    if len(head) < _SECTOR or head[:1] not in _FAT_JUMPS:
        return False
    parameters: tuple[int, ...] = _FAT_PARAMETERS.unpack_from(head, 11)
    sector, cluster, reserved, tables, _entries, _sectors, medium, _length = parameters
    return (
        sector in (512, 1024, 2048, 4096)
        and cluster > 0
        and not cluster & (cluster - 1)
        and reserved > 0
        and tables in (1, 2)
        and (medium == 0xF0 or medium >= 0xF8)
    )
