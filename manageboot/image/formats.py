"""Recognise by its first bytes what is packed: compressed data, archives, disk images with a format, programs.

Source: the formats' specifications, and what file(1) goes by.
"""

import struct
from typing import NamedTuple

from manageboot.image import tarheader


class Format(NamedTuple):
    """A format that no partition holds as it is."""

    what: str
    """As in "it is ...", such as "gzip-compressed"."""
    remedy: str
    """What to do about it."""
    name: str
    """As in "inside is ...", such as "gzip", or "a zip archive"."""


UNPACK = "unpack it before it goes into the update image"
"""The remedy for what is only wrapped around something else."""
_CONVERT = "convert it with qemu-img convert -O raw"
_PROGRAM = "give the file system that it lies in"

_COMPRESSED: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"LZIP\1", "lzip"),
    (b"LRZI\0", "lrzip"),
    (b"\0ZCK1", "zchunk"),
    (b"\xff\x06\0\0sNaPpY", "snappy"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    *((b"\x1f\x9d" + bytes([0x80 | bits]), "compress") for bits in range(9, 17)),
    *((b"BZh%d" % level, "bzip2") for level in range(1, 10)),
)
_LZMA_PROPERTIES = b"\x5d"
_LZMA_HEADER = struct.Struct("<xLQB")
"""Properties; size of the dictionary, size of the content, first byte of the data."""
_LZMA_UNKNOWN_SIZE = (1 << 64) - 1
_LZMA_LARGEST = 1 << 38
_LZMA_SMALLEST = 1 << 12
_SKIPPABLE_TAIL = b"\x2a\x4d\x18"  # after a byte from 0x50 to 0x5f: zstd's, and lz4's too
_CPIO_OLD = (b"\xc7\x71", b"\x71\xc7")
_CPIO_OLD_BYTES = 26
_REGULAR, _DIRECTORY = 0o10, 0o04  # the kinds of file that begin a cpio archive

_ARCHIVES: tuple[tuple[bytes, str], ...] = (
    (b"PK\3\4", "a zip archive"),
    (b"PK\5\6", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\7", "a rar archive"),
    (b"070701", "a cpio archive"),
    (b"070702", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"!<arch>\n", "an ar archive, such as a Debian package"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"MSCF\0\0\0\0", "a cabinet archive"),
    (b"MSWIM\0\0\0", "a WIM archive"),
    (b"xar!\0", "a xar archive"),
    (b"CrAU\0\0\0\0", "an Android update"),
)

# What copies a file system, and is put back by the program that made it.
_COPIES: tuple[tuple[bytes, str, str], ...] = (
    (b"partclone-image\0", "a partclone image", "convert it with partclone.restore --restore_raw_file"),
    (b"btrfs-stream\0", "a btrfs send stream", "make an image of the file system with btrfs receive"),
    (b"xFSdump0", "an xfs dump", "make an image of the file system with xfsrestore"),
)

_DISK_IMAGES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"QFI\xfb\0\0\0\1", "a qcow disk image"),
    (0, b"QFI\xfb", "a qcow2 disk image"),
    (0, b"QED\0", "a QED disk image"),
    (0, b"KDMV", "a VMDK disk image"),
    (0, b"COWD", "a VMDK disk image"),
    (0, b"# Disk DescriptorFile", "the description of a VMDK disk image"),
    (0, b"vhdxfile", "a VHDX disk image"),
    (0, b"conectix", "a VHD disk image"),
    (64, b"\x7f\x10\xda\xbe", "a VDI disk image"),
    (0, b"Bochs Virtual HD Image", "a Bochs disk image"),
    (0, b"EVF\t\r\n\xff\0", "an EWF disk image"),
    (0, b"WithoutFreeSpace", "a Parallels disk image"),
    (0, b"WithouFreSpacExt", "a Parallels disk image"),
)
_ANDROID_SPARSE = b"\x3a\xff\x26\xed\1\0"

_ELF = b"\x7fELF"
_MZ = b"MZ"
_PE_POINTER = slice(60, 64)
_LINUX_SETUP = slice(0x202, 0x206)
_UIMAGE = b"\x27\x05\x19\x56"


def format_of(head: bytes) -> Format | None:
    """Name the format that something is packed in; None where it is not, or not known to be.

    Args:
        head: its first content.HEAD_BYTES, or all of it where it is short.
    """
    if (compression := _compression(head)) is not None:
        what = "compressed with compress" if compression == "compress" else f"{compression}-compressed"
        return Format(what, UNPACK, compression)
    found = _archive(head) or _copy(head) or _disk_image(head) or _program(head)
    return Format(*found, found[0]) if found is not None else None


def is_tar(head: bytes) -> bool:
    """Tell whether a tar archive begins so: by its magic, or in older ones by the header's checksum."""
    header = head[: tarheader.BLOCK_SIZE]
    if len(header) < tarheader.BLOCK_SIZE:
        return False
    return tarheader.has_magic(header) or tarheader.checksum_holds(header)


def _compression(head: bytes) -> str | None:
    if head[1:4] == _SKIPPABLE_TAIL and head[0] & 0xF0 == 0x50:
        return "zstd"
    if _is_lzma(head):
        return "lzma"
    return next((name for magic, name in _COMPRESSED if head.startswith(magic)), None)


def _is_lzma(head: bytes) -> bool:
    """Tell whether it is what xz calls lzma: no magic, but properties and sizes that make sense."""
    if len(head) < _LZMA_HEADER.size or head[:1] != _LZMA_PROPERTIES:
        return False
    dictionary, size, first = _LZMA_HEADER.unpack_from(head)
    power = 1 << max(dictionary.bit_length() - 1, 0)
    # As xz judges it: a power of two, or one and a half of it; and no more than 256 GiB, or unknown.
    return (
        dictionary in (power, power | power >> 1)
        and dictionary >= _LZMA_SMALLEST
        and (size == _LZMA_UNKNOWN_SIZE or 0 < size < _LZMA_LARGEST)
        and first == 0
    )


def _is_old_cpio(head: bytes) -> bool:
    """Tell a cpio archive of the binary kind; its magic alone has two bytes."""
    if head[:2] not in _CPIO_OLD or len(head) < _CPIO_OLD_BYTES:
        return False
    order = "<" if head[:2] == _CPIO_OLD[0] else ">"
    mode, links = struct.unpack_from(f"{order}6xH4xH", head)
    return bool(mode >> 12 in (_REGULAR, _DIRECTORY) and links)


def _archive(head: bytes) -> tuple[str, str] | None:
    what = next((what for magic, what in _ARCHIVES if head.startswith(magic)), None)
    if what is None and _is_old_cpio(head):
        what = "a cpio archive"
    if what is None and is_tar(head):
        what = "a tar archive"
    return (what, UNPACK) if what is not None else None


def _copy(head: bytes) -> tuple[str, str] | None:
    return next(((what, remedy) for magic, what, remedy in _COPIES if head.startswith(magic)), None)


def _disk_image(head: bytes) -> tuple[str, str] | None:
    if head.startswith(_ANDROID_SPARSE):
        return "an Android sparse image", "convert it with simg2img"
    what = next((what for offset, magic, what in _DISK_IMAGES if head.startswith(magic, offset)), None)
    return (what, _CONVERT) if what is not None else None


def _program(head: bytes) -> tuple[str, str] | None:
    # GRUB loads kernels out of a file system, never from the bytes of a partition.
    if head[_LINUX_SETUP] == b"HdrS":
        return "a Linux kernel", _PROGRAM
    if head.startswith(_ELF) and head[4:5] in (b"\1", b"\2") and head[5:6] in (b"\1", b"\2"):
        return "an ELF program", _PROGRAM
    at = int.from_bytes(head[_PE_POINTER], "little")
    if head.startswith(_MZ) and head.startswith(b"PE\0\0", at):
        return "an EFI or Windows program", _PROGRAM
    if head.startswith(_UIMAGE):
        return "a U-Boot image", _PROGRAM
    return None
