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
_PROTECTIVE = 0xEE  # type of the partition that covers a GPT


def partition_table(head: bytes) -> str | None:
    """Name the partition table that something begins with, "GPT" or "MBR"; None where there is none.

    A GPT that is damaged is one: the entry that stands for it in the MBR tells.

    Args:
        head: its first content.HEAD_BYTES, which are not those of a file system.
    """
    if any(head.startswith(_GPT_SIGNATURE, size) for size in _SECTOR_SIZES):
        return "GPT"
    types = _types(head) if head[_SECTOR - 2 : _SECTOR] == _BOOT_SIGNATURE else []
    if not types:
        return None
    return "GPT" if _PROTECTIVE in types else "MBR"


def _types(head: bytes) -> list[int]:
    """Return the types of the partitions in an MBR; none where one of its four entries makes no sense."""
    types: list[int] = []
    for number in range(_ENTRY_COUNT):
        active, kind, first, sectors = _ENTRY.unpack_from(head, _ENTRIES + number * _ENTRY.size)
        if active not in (_INACTIVE, _ACTIVE):
            return []
        if bool(kind) != bool(first) or bool(kind) != bool(sectors):
            return []
        if kind:
            types.append(kind)
    return types
