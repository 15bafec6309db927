"""The names in a directory of a FAT file system, as GRUB reads them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRY_BYTES = 32
_END, _DELETED = 0x00, 0xE5
_KNOWN_ATTRIBUTES = 0x3F
_LONG_NAME, _VOLUME, _DIRECTORY = 0x0F, 0x08, 0x10
_LONG_NAME_PARTS = (slice(1, 11), slice(14, 26), slice(28, 32))
_LAST_PART, _PART_NUMBER = 0x40, 0x3F


def entries(pieces: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield each file of a directory with its name: the long one where there is one that belongs to it.

    Args:
        pieces: the directory, in pieces of whole entries.

    Source: GRUB grub-core/fs/fat.c, grub_fat_iterate_dir_next.
    """
    parts: dict[int, bytes] = {}
    expected = checksum = -1
    for piece in pieces:
        for start in range(0, len(piece) - ENTRY_BYTES + 1, ENTRY_BYTES):
            entry = piece[start : start + ENTRY_BYTES]
            if entry[0] == _END:
                return
            if entry[11] == _LONG_NAME:
                number = entry[0]
                if number & _LAST_PART:
                    number &= _PART_NUMBER
                    parts, expected, checksum = {}, number, entry[13]
                if number != expected or not number or checksum != entry[13]:
                    checksum = -1
                    continue
                parts[number] = b"".join(entry[part] for part in _LONG_NAME_PARTS)
                expected -= 1
                continue
            if entry[0] == _DELETED or entry[11] & ~_KNOWN_ATTRIBUTES:
                continue
            if not entry[11] & (_VOLUME | _DIRECTORY):
                whole = expected == 0 and checksum == _checksum(entry[:11])
                yield _long_name(parts) if whole else _short_name(entry), entry
            checksum = -1


def _long_name(parts: dict[int, bytes]) -> str:
    raw = b"".join(parts[number] for number in sorted(parts))
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def _short_name(entry: bytes) -> str:
    # GRUB ends either at a NUL; Linux does not.
    parts = (part.partition(b"\0")[0].rstrip(b" ") for part in (entry[:8], entry[8:11]))
    base, extension = (part.decode("cp437") for part in parts)
    return f"{base}.{extension}" if extension else base


def _checksum(short: bytes) -> int:
    total = 0
    for byte in short:
        total = ((total >> 1) + ((total & 1) << 7) + byte) & 0xFF
    return total
