"""What is called an image and is none, and what a partition may hold: their first bytes, made here.

What the tools of `make test` can make, test_content.py has them make as well.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Mapping

KIB = 1024
MIB = 1 << 20


def at(pieces: Mapping[int, bytes], size: int = 192 * KIB) -> bytes:
    """Zeros with pieces in them, by their offset."""
    content = bytearray(size)
    for offset, piece in pieces.items():
        content[offset : offset + len(piece)] = piece
    return bytes(content)


def ext(*, revision: int = 1, compatible: int = 0, incompatible: int = 0, block_size: int = 2) -> bytes:
    """A superblock of ext, which stands at byte 1024."""
    block = bytearray(KIB)
    struct.pack_into("<LL", block, 0, 1280, 1280)
    struct.pack_into("<L", block, 24, block_size)
    struct.pack_into("<H", block, 56, 0xEF53)
    struct.pack_into("<L", block, 76, revision)
    struct.pack_into("<H", block, 88, 256)
    struct.pack_into("<LL", block, 92, compatible, incompatible)
    return bytes(block)


def fat_sector() -> bytes:
    """A boot sector of FAT, which ends like one with partitions."""
    sector = bytearray(512)
    sector[:11] = b"\xeb\x3c\x90mkfs.fat"
    struct.pack_into("<HBHBHHBH", sector, 11, 512, 4, 4, 2, 512, 8192, 0xF8, 8)
    sector[62:100] = b"This is not a bootable disk.  Please i"
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def mbr(*entries: tuple[int, int, int, int], code: bytes = b"\xfa\x33\xc0\x8e\xd0") -> bytes:
    """A boot sector with partitions: whether it is active, type, first sector, sectors."""
    sector = bytearray(512)
    sector[: len(code)] = code
    for number, (active, kind, first, sectors) in enumerate(entries):
        struct.pack_into("<B3xB3xLL", sector, 446 + 16 * number, active, kind, first, sectors)
    sector[510:] = b"\x55\xaa"
    return bytes(sector)


def _gpt(sector_size: int) -> bytes:
    protective = mbr((0, 0xEE, 1, 0xFFFFFFFF), code=b"")
    return at({0: protective, sector_size: b"EFI PART\0\0\1\0" + struct.pack("<L", 92)})


def _tar(*, form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        entry = tarfile.TarInfo("sbin/init")
        entry.size = 3000
        archive.addfile(entry, io.BytesIO(b"i" * 3000))
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("root.img", b"root")
    return out.getvalue()


def _v7(archive: bytes) -> bytes:
    """Take the magic and all behind it out of the first header."""
    block = bytearray(archive[:257].ljust(512, b"\0"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + archive[512:]


EXT4 = at({1024: ext(compatible=0x4, incompatible=0x2C2)})
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 10737418240\n"
HTML = b'\n<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<title>404</title>\n<p>Caf\xe9\n'
TAR = _tar(form=tarfile.GNU_FORMAT)
PE = at({0: b"MZ", 60: struct.pack("<L", 0x80), 0x80: b"PE\0\0\x64\x86"}, 4096)
KERNEL = at({0: b"MZ", 510: b"\x55\xaa", 0x202: b"HdrS"}, 4096)

# What it is, as the message says it, and its bytes.
FOREIGN: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip-compressed", gzip.compress(EXT4, mtime=0)),
    "zstd": ("zstd-compressed", b"\x28\xb5\x2f\xfd\x04\x58" + bytes(90)),
    "zstd after a skippable frame": ("zstd-compressed", b"\x50\x2a\x4d\x18\4\0\0\0\1\2\3\4\x28\xb5\x2f\xfd"),
    "xz": ("xz-compressed", lzma.compress(EXT4)),
    "lzma": ("lzma-compressed", lzma.compress(EXT4, lzma.FORMAT_ALONE)),
    "bzip2": ("bzip2-compressed", bz2.compress(EXT4)),
    "lz4": ("lz4-compressed", b"\x04\x22\x4d\x18\x64\x40\xa7" + bytes(90)),
    "lz4, legacy": ("lz4-compressed", b"\x02\x21\x4c\x18" + bytes(90)),
    "lzip": ("lzip-compressed", b"LZIP\1\x0c" + bytes(90)),
    "lzop": ("lzop-compressed", b"\x89LZO\0\r\n\x1a\n" + bytes(90)),
    "compress": ("compressed with compress", b"\x1f\x9d\x90" + bytes(90)),
    "zip": ("a zip archive", _zip()),
    "7z": ("a 7z archive", b"7z\xbc\xaf\x27\x1c\0\4" + bytes(90)),
    "rar": ("a rar archive", b"Rar!\x1a\7\1\0" + bytes(90)),
    "tar": ("a tar archive", TAR),
    "tar, POSIX": ("a tar archive", _tar(form=tarfile.PAX_FORMAT)),
    "tar, v7": ("a tar archive", _v7(TAR)),
    "cpio": ("a cpio archive", b"070701" + b"0" * 104 + b"sbin\0\0"),
    "cpio, with checksums": ("a cpio archive", b"070702" + b"0" * 104 + b"sbin\0\0"),
    "cpio, old": ("a cpio archive", b"070707" + b"0" * 70 + b"sbin\0"),
    "cpio, binary": ("a cpio archive", struct.pack("<13H", 0o070707, 1, 2, 0o100644, 0, 0, 1, *range(6))),
    "cpio, binary, other order": ("a cpio archive", struct.pack(">13H", 0o070707, 1, 2, 0o40755, 0, 0, 2, *range(6))),
    "Debian package": ("an ar archive, such as a Debian package", b"!<arch>\ndebian-binary   1700000000  0     0  "),
    "RPM package": ("an RPM package", b"\xed\xab\xee\xdb\3\0" + bytes(90)),
    "cabinet": ("a cabinet archive", b"MSCF\0\0\0\0" + bytes(90)),
    "WIM": ("a WIM archive", b"MSWIM\0\0\0\xd0" + bytes(600)),
    "xar": ("a xar archive", b"xar!\0\x1c\0\1" + bytes(90)),
    "Android update": ("an Android update", b"CrAU\0\0\0\0\0\0\0\2" + bytes(90)),
    "partclone": ("a partclone image", b"partclone-image\x002.4\0" + bytes(600)),
    "btrfs send": ("a btrfs send stream", b"btrfs-stream\0\1\0\0\0" + bytes(90)),
    "xfsdump": ("an xfs dump", b"xFSdump0\0\0\0\3" + bytes(600)),
    "lrzip": ("lrzip-compressed", b"LRZI\0\6" + bytes(90)),
    "zchunk": ("zchunk-compressed", b"\0ZCK1\x81" + bytes(90)),
    "snappy": ("snappy-compressed", b"\xff\x06\0\0sNaPpY\0" + bytes(90)),
    "Bochs": ("a Bochs disk image", b"Bochs Virtual HD Image".ljust(600, b"\0")),
    "EWF": ("an EWF disk image", b"EVF\t\r\n\xff\0\1\1\0" + bytes(90)),
    "qcow": ("a qcow disk image", b"QFI\xfb\0\0\0\1" + bytes(600)),
    "qcow2": ("a qcow2 disk image", b"QFI\xfb\0\0\0\3" + bytes(600)),
    "QED": ("a QED disk image", b"QED\0" + bytes(600)),
    "VMDK": ("a VMDK disk image", b"KDMV\1\0\0\0" + bytes(600)),
    "VMDK, of a server": ("a VMDK disk image", b"COWD\1\0\0\0" + bytes(600)),
    "VMDK, described": ("the description of a VMDK disk image", b"# Disk DescriptorFile\nversion=1\n"),
    "VHD": ("a VHD disk image", b"conectix\0\0\0\2" + bytes(600)),
    "VHDX": ("a VHDX disk image", b"vhdxfile" + "qemu".encode("utf-16-le") + bytes(600)),
    "VDI": ("a VDI disk image", at({0: b"<<< Oracle VM VirtualBox Disk Image >>>\n", 64: b"\x7f\x10\xda\xbe"}, 600)),
    "Parallels": ("a Parallels disk image", b"WithouFreSpacExt\2\0\0\0" + bytes(600)),
    "Android sparse image": ("an Android sparse image", b"\x3a\xff\x26\xed\1\0\0\0\x1c\0\x0c\0" + bytes(600)),
    "whole disk, GPT": ("a whole disk with a GPT", _gpt(512)),
    "whole disk, GPT, 4096-byte sectors": ("a whole disk with a GPT", _gpt(4096)),
    "whole disk, MBR": ("a whole disk with an MBR", at({0: mbr((0x80, 0x83, 2048, 65536))})),
    "whole disk, MBR, four partitions": (
        "a whole disk with an MBR",
        at({0: mbr((0, 0x83, 63, 100), (0x80, 7, 163, 100), (0, 5, 263, 900), (0, 0xC, 1200, 9))}),
    ),
    "whole disk, GPT damaged": ("a whole disk with a GPT", at({0: mbr((0, 0xEE, 1, 0xFFFFFFFF), code=b"")})),
    "HTML": ("an HTML page", HTML),
    "HTML, longer than it is looked at": ("an HTML page", HTML + b"<p>" + b"x" * 200_000),
    "XML": ("XML", b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'),
    "XML without declaration": ("XML", b"<Error>\n<Code>NoSuchKey</Code></Error>"),
    "JSON": ("JSON", b'{"error": "not found", "code": 404}'),
    "JSON, indented": ("JSON", b'  [\n  "\xc3\xa4"\n]\n'),
    "script": ("a script", b"#!/bin/sh\nexec curl\n" * 900),
    "JSON without white space": ("JSON", b'{"error":"not_found"}'),
    "JSON without white space, long": ("JSON", b'[{"a":' + b"[1,2]" * 2000),
    "text": ("text", b"404 page not found\n"),
    "text, cut inside a character": ("text", ("wo ist es denn? " + "\u20ac" * 2000).encode()),
    "text, Latin-1": ("text", b"Datei nicht gefunden: sch\xf6ne Gr\xfc\xdfe\r\n"),
    "text with a byte order mark": ("text", b"\xef\xbb\xbfnot found\n"),
    "text, UTF-16": ("text", "\ufeffnot found\r\n".encode("utf-16-le")),
    "Git LFS pointer": ("a Git LFS pointer", LFS_POINTER),
    "PEM": ("PEM, such as a key or a certificate", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
    "ELF": ("an ELF program", b"\x7fELF\2\1\1" + bytes(600)),
    "kernel": ("a Linux kernel", KERNEL),
    "EFI program": ("an EFI or Windows program", PE),
    "U-Boot image": ("a U-Boot image", b"\x27\x05\x19\x56" + bytes(600)),
}

# With the boot sector of a disk, or anything else, where the file system leaves room for it.
BOOT_CODE = mbr((0x80, 0x83, 2048, 65536))
PASSING: dict[str, tuple[str | None, bytes]] = {
    "ext4": ("an ext4 file system", EXT4),
    "ext3": ("an ext3 file system", at({1024: ext(compatible=0x4)})),
    "ext2": ("an ext2 file system", at({1024: ext()})),
    "ext2 of 1993": ("an ext2 file system", at({1024: ext(revision=0)})),
    "ext4 behind a boot sector": ("an ext4 file system", at({0: BOOT_CODE, 1024: ext(incompatible=0x40)})),
    "ext4 behind text": ("an ext4 file system", at({0: b"boot me\n" * 128, 1024: ext(incompatible=0x40)})),
    "FAT": ("a FAT file system", at({0: fat_sector()})),
    "NTFS": ("an NTFS file system", at({0: b"\xeb\x52\x90NTFS    " + bytes(499) + b"\x55\xaa"})),
    "exFAT": ("an exFAT file system", at({0: b"\xeb\x76\x90EXFAT   " + bytes(499) + b"\x55\xaa"})),
    "squashfs": ("a squashfs file system", at({0: b"hsqs" + bytes(range(92))})),
    "erofs": ("an erofs file system", at({1024: b"\xe2\xe1\xf5\xe0" + bytes(range(92))})),
    "xfs": ("an xfs file system", at({0: b"XFSB\0\0\x10\0"})),
    "f2fs": ("an f2fs file system", at({1024: b"\x10\x20\xf5\xf2\1\0"})),
    "btrfs": ("a btrfs file system", at({65536 + 64: b"_BHRfS_M"})),
    "btrfs behind a boot sector": ("a btrfs file system", at({0: BOOT_CODE, 65536 + 64: b"_BHRfS_M"})),
    "btrfs behind what looks like gzip": ("a btrfs file system", at({0: b"\x1f\x8b\x08", 65536 + 64: b"_BHRfS_M"})),
    "ISO 9660 that boots": ("an ISO 9660 file system", at({0: BOOT_CODE, 32768: b"\1CD001\1"})),
    "LUKS": ("a LUKS volume", at({0: b"LUKS\xba\xbe\0\2"})),
    "dm-verity": ("a dm-verity hash tree", at({0: b"verity\0\0\1\0\0\0"})),
    "dm-integrity": ("a dm-integrity volume", at({0: b"integrt\0\5"})),
    "LVM": ("an LVM physical volume", at({0: BOOT_CODE, 512: b"LABELONE\1\0"})),
    # What nobody knows.
    "zeros, then data": (None, at({4096: b"?"})),
    "zeros": ("zeros", bytes(192 * KIB)),
    "one zero": ("zeros", b"\0"),
    "a boot sector without partitions": (None, at({0: mbr()})),
    "a boot sector with a message": (None, at({0: b"\xeb\x3c\x90".ljust(446) + b"NO SYSTEM FILE  " * 4 + b"\x55\xaa"})),
    "a word": (None, b"root"),
    "brackets": (None, b'{root:["x"]}'),
    "JSON's beginning, and no text": (None, b'{"' + bytes(range(200))),
    "bcache": ("a bcache device", at({4120: bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")})),
    "text and binary data": (None, b"root file system\n" + bytes(range(256)) * 20),
    "BZh, and no level": (None, b"BZhello\x01\x02"),
    "MZ, and no program": (None, at({0: b"MZ"}, 4096)),
    "lzma's first bytes": (None, b"\x5d\0\0" + bytes(range(1, 200))),
    "ext's magic alone": (None, at({1024 + 56: b"\x53\xef"})),
    "a device tree": (None, b"\xd0\x0d\xfe\xed\0\0\x10\0" + bytes(600)),
}
