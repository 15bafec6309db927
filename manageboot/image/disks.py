"""Recognise by its first bytes a whole disk, with a partition table, where one partition is wanted.

A boot sector ends in 55 AA whether a partition table is in it or the code of a file system, so that alone says nothing.

Source: UEFI Specification 2.10, section 5.2 and 5.3.
"""

import struct

_SECTOR = 512
_SECTOR_SIZES = (512, 4096)
_GPT_SIGNATURE = b"EFI PART\0\0\1\0"
_BOOT_SIGNATURE = b"\x55\xaa"
_ENTRIES = 446
_ENTRY = struct.Struct("<B3xB3xLL")
"""Whether it is active, its type, first sector, number of sectors."""
_ENTRY_COUNT = 4
_INACTIVE, _ACTIVE = 0x00, 0x80


def partition_table(head: bytes) -> str | None:
    """Name the partition table that something begins with, "GPT" or "MBR"; None where there is none.

    Args:
        head: its first content.HEAD_BYTES, which are not those of a file system.
    """
    if any(head.startswith(_GPT_SIGNATURE, size) for size in _SECTOR_SIZES):
        return "GPT"
    if head[_SECTOR - 2 : _SECTOR] == _BOOT_SIGNATURE and _has_entries(head):
        return "MBR"
    return None


def _has_entries(head: bytes) -> bool:
    """Tell whether there are four entries that make sense, and at least one of them is used."""
    used = 0
    for number in range(_ENTRY_COUNT):
        active, kind, first, sectors = _ENTRY.unpack_from(head, _ENTRIES + number * _ENTRY.size)
        if active not in (_INACTIVE, _ACTIVE):
            return False
        if kind:
            if not first or not sectors:
                return False
            used += 1
        elif first or sectors:
            return False
    return used > 0
