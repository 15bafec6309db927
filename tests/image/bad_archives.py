"""Bad tar archives: each with the class of its error, and what the message has to say."""

import random

from manageboot.errors import DataError, ImageFormatError, ImageMemberError, ImageTruncatedError
from support.archives import (
    END,
    GNU,
    POSIX,
    V7,
    base256,
    checksummed,
    header,
    member,
    octal,
    old_gnu,
    pad,
    pax,
    pax_sparse_00,
    pax_sparse_01,
    pax_sparse_10,
    record,
    records,
    sparse_10_records,
    table,
)

Case = tuple[bytes, type[DataError], str]
FORMAT, TRUNCATED, MEMBER = ImageFormatError, ImageTruncatedError, ImageMemberError
KIB = 1024

BOOT = member("boot.img", random.Random(1).randbytes(1500))
EXTENTS = [(number * 2 * KIB, 512) for number in range(30)]
ROOT_DATA = random.Random(2).randbytes(30 * 512)
ROOT = old_gnu("root.img", 64 * KIB, ROOT_DATA, EXTENTS)  # a header, two extension headers, 30 blocks
VERSION = member("VERSION.TXT", b"1.2.3\n")
WHOLE = BOOT + ROOT + VERSION + END
ROOT_AT = len(BOOT)
VERSION_AT = ROOT_AT + len(ROOT)
END_AT = VERSION_AT + len(VERSION)
LINK = {"at_157": b"boot.img"}
PAX_MAP = records(("GNU.sparse.size", 8192), ("GNU.sparse.numblocks", 1), ("GNU.sparse.map", "512,512"))


def with_map(extents: list[tuple[int, int]], stored: int, size: int = 8192) -> bytes:
    """A root image of each of whose extents the data is there."""
    return BOOT + old_gnu("root.img", size, bytes(stored), extents) + END


def with_records(body: bytes, name: str = "root.img", data: bytes = bytes(512)) -> bytes:
    return BOOT + pax(body) + member(name, data) + END


def with_map_in_data(text: bytes, stored: int = 512, size: int = 8192) -> bytes:
    body = sparse_10_records("root.img", size)
    return with_records(body, "GNUSparseFile.1/root.img", pad(text) + bytes(stored))


def with_header(magic: bytes, kind: bytes) -> bytes:
    """A PAX map before a header that does not go with it."""
    return BOOT + pax(PAX_MAP) + member("root.img", bytes(512), kind, magic) + END


def broken(archive: bytes, at: int, value: bytes) -> bytes:
    return archive[:at] + value + archive[at + len(value) :]


def unextended(block: bytes) -> bytes:
    return checksummed(broken(block, 482, b"\0"))


# Where an archive is cut; after the `+` in other names too.
CUTS: dict[str, tuple[int, str]] = {
    "inside the first header": (300, "only 300 bytes"),
    "after the first header": (512, "boot.img ends after 0 of 1500"),
    "in data": (512 + 700, "boot.img ends after 700 of 1500 bytes"),
    "before padding": (512 + 1500, "padding after 'boot.img'"),
    "inside padding": (512 + 1510, "padding after 'boot.img'"),
    "between members": (ROOT_AT, "without the two blocks of zeros"),
    "inside a header": (ROOT_AT + 100, "without the two blocks of zeros"),
    "before an extension header": (ROOT_AT + 512, "inside the sparse map of 'root.img'"),
    "inside an extension header": (ROOT_AT + 512 + 200, "inside the sparse map of 'root.img'"),
    "before the second extension header": (ROOT_AT + 1024, "inside the sparse map of 'root.img'"),
    "before sparse data": (ROOT_AT + 1536, "root.img ends after 0 of 15360 bytes"),
    "between two extents": (ROOT_AT + 1536 + 1024, "root.img ends after 1024 of 15360 bytes"),
    "inside an extent": (ROOT_AT + 1536 + 1025, "root.img ends after 1025 of 15360 bytes"),
    "before the last member": (VERSION_AT, "without the two blocks of zeros"),
    "before the end": (END_AT, "without the two blocks of zeros"),
    "inside the first zero block": (END_AT + 5, "without the two blocks of zeros"),
    "after the first zero block": (END_AT + 512, "after one of the two blocks"),
    "inside the second zero block": (END_AT + 1000, "after one of the two blocks"),
}

TAR: dict[str, Case] = {
    # The form as a whole
    "empty": (b"", TRUNCATED, "it is empty"),
    "one byte": (b"\x28", TRUNCATED, "only 1 bytes"),
    "text": (b"hello\n" * 200, FORMAT, "neither tar, zstd, gzip, xz nor bzip2"),
    "zeros": (bytes(10240), FORMAT, "neither tar"),
    "file system image": (bytes(1080) + b"\x53\xef" + bytes(4000), FORMAT, "neither tar"),
    "zip": (b"PK\3\4" + bytes(2000), FORMAT, "it is a zip archive, and neither tar, zstd"),
    "unknown": (b"PK\3\5" + bytes(2000), FORMAT, "begins with 50 4b 03 05 00 00 00 00, and neither tar"),
    "cpio": (b"070701" + b"0" * 2000, FORMAT, "neither tar"),
    "one zero block": (BOOT + ROOT + bytes(512) + VERSION, FORMAT, "one block of zeros, and not the two"),
    "data after the end": (WHOLE + bytes(600) + b"x", FORMAT, rf"at offset {len(WHOLE) + 600} of the archive"),
    "a second archive after the end": (WHOLE + WHOLE, FORMAT, rf"at offset {len(WHOLE)} of the archive"),
    # Headers
    "wrong checksum": (broken(WHOLE, ROOT_AT, b"R"), FORMAT, rf"checksum is .* offset {ROOT_AT} of"),
    "checksum is no number": (broken(WHOLE, ROOT_AT + 148, b"zzz"), FORMAT, "the checksum is"),
    "flipped size": (broken(WHOLE, ROOT_AT + 130, b"7"), FORMAT, "checksum is"),
    "unknown magic": (BOOT + header("root.img", 0, magic=b"ustar!!!") + END, FORMAT, "not a known kind of tar"),
    "size is no number": (BOOT + header("root.img", b"12x") + END, FORMAT, "size is b'12x"),
    "size with digit 8": (BOOT + header("root.img", b"00000000008\0") + END, FORMAT, "not a number"),
    "size with a gap": (BOOT + header("root.img", b"000001 0001\0") + END, FORMAT, "not a number"),
    "size without digits": (BOOT + header("root.img", bytes(12)) + END, MEMBER, "root.img is empty"),
    "size of a sign": (BOOT + header("root.img", b"-") + END, FORMAT, "not a number"),
    "negative size": (BOOT + header("root.img", b"\xff" * 12) + END, FORMAT, "not a number"),
    "size of 2^87": (BOOT + header("root.img", b"\x80\x80" + bytes(10)) + END, FORMAT, "the size is .* allowed"),
    "size of 16 TiB and a byte": (BOOT + header("root.img", base256((1 << 44) + 1)) + END, FORMAT, "more than"),
    "size beyond the file": (
        BOOT + header("root.img", base256(1 << 40)) + END,
        TRUNCATED,
        "ends after 1024 of 1099511",
    ),
    "directory with data": (header("dir", 512, b"5") + bytes(512) + BOOT, FORMAT, "directory 'dir' has 512"),
    # Old-GNU sparse maps
    "sparse map overlaps": (with_map([(0, 1024), (512, 512)], 1536), FORMAT, "goes back: an extent at 512"),
    "sparse map backwards": (with_map([(4096, 512), (0, 512)], 1024), FORMAT, "goes back: an extent at 0"),
    "sparse map beyond size": (with_map([(7680, 1024)], 1024), FORMAT, "from 7680 to 8704, and the size is 8192"),
    "sparse end mark beyond size": (with_map([(0, 512), (9000, 0)], 512), FORMAT, "from 9000 to 9000"),
    "sparse map too short": (with_map([(0, 512)], 1024), FORMAT, "has 512 bytes, 1024 are stored"),
    "sparse map too long": (with_map([(0, 512), (1024, 512)], 512), FORMAT, "has 1024 bytes, 512 are stored"),
    "unaligned extent": (with_map([(0, 100), (512, 412)], 512), FORMAT, "not a multiple of 512"),
    "gap in sparse table": (
        BOOT
        + header("root.img", 512, b"S", GNU, at_386=bytes(24) + table([(0, 512)], 3), at_483=octal(8192))
        + bytes(512)
        + END,
        FORMAT,
        "goes on after its end",
    ),
    "extension after the map's end": (
        BOOT + header("root.img", 0, b"S", GNU, at_482=b"\1", at_483=octal(8192)) + bytes(512) + END,
        FORMAT,
        "goes on after its end",
    ),
    "extension not announced": (BOOT + unextended(ROOT[:512]) + ROOT[512:] + END, FORMAT, "2048 bytes, 15360"),
    "extension that is data": (BOOT + ROOT[:512] + b"\xaa" * 512 + ROOT[1024:] + END, FORMAT, "offset of an extent"),
    "no real size": (BOOT + header("root.img", 0, b"S", GNU) + END, MEMBER, "root.img is empty"),
    "real size is no number": (
        BOOT + header("root.img", 0, b"S", GNU, at_483=b"x") + END,
        FORMAT,
        "size of the sparse file",
    ),
    "type S in a POSIX header": (BOOT + header("root.img", 0, b"S", POSIX) + END, FORMAT, "no GNU header"),
    "extent of 2^90": (
        BOOT + header("root.img", 0, b"S", GNU, at_386=base256(0) + b"\x80\xff" * 6, at_483=octal(8192)) + END,
        FORMAT,
        "length of an extent is",
    ),
    "old-GNU and PAX map": (BOOT + pax(record("GNU.sparse.size", 1)) + ROOT + END, FORMAT, "an old-GNU and a PAX"),
    # PAX headers
    "record without length": (with_records(b"path=root.img\n"), FORMAT, "no whole record at byte 0"),
    "record too long": (with_records(b"99 path=root.img\n"), FORMAT, "no whole record at byte 0"),
    "record too short": (with_records(b"15 path=root.img\n"), FORMAT, "no whole record at byte 0"),
    "record of length 0": (with_records(b"0 path=root.img\n"), FORMAT, "no whole record at byte 0"),
    "record without =": (with_records(record("a", 1) + b"7 path\n"), FORMAT, "no whole record at byte 6"),
    "record with an endless length": (with_records(b"9" * 500), FORMAT, "no whole record"),
    "record with a signed length": (with_records(b"+17 path=root.img\n"), FORMAT, "no whole record"),
    "path is empty": (with_records(record("path", "")), FORMAT, "path has 0 bytes"),
    "path with NUL": (with_records(record("path", "root.img\0x")), FORMAT, "or a NUL"),
    "path of 5000 bytes": (with_records(record("path", "a" * 5000)), FORMAT, "path has 5000 bytes"),
    "NULs in the records": (
        with_records(bytes(9) + record("path", "root.img")),
        FORMAT,
        "behind the padding at byte 0",
    ),
    "size record is no number": (with_records(record("size", "0x200")), FORMAT, "the size is b'0x200'"),
    "size record is negative": (with_records(record("size", "-1")), FORMAT, "not a number"),
    "size record is absurd": (with_records(record("size", 10**13 * 9)), FORMAT, "more than"),
    "two extended headers": (
        BOOT + pax(b"") * 2 + ROOT + END,
        FORMAT,
        "second extended header",
    ),
    "huge extended header": (BOOT + header("x", 17 << 20, b"x") + bytes(4096), FORMAT, "17825792 bytes, and 16777216"),
    "extended header cut": (BOOT + header("x", 4000, b"x") + bytes(1024), TRUNCATED, "inside an extended header"),
    "global path": (pax(record("path", "root.img"), b"g") + WHOLE, FORMAT, "global header sets b'path'"),
    "global sparse map": (pax(record("GNU.sparse.map", "0,1"), b"g") + WHOLE, FORMAT, "global header sets"),
    "huge long name": (BOOT + header("././@LongLink", 5000, b"L", GNU) + bytes(5120) + END, FORMAT, "5000 bytes"),
    "two long names": (member("L", b"root.img\0", b"L", GNU) * 2 + BOOT + END, FORMAT, "second long name"),
    # PAX sparse maps
    "PAX 0.0 without size": (
        with_records(records(("GNU.sparse.offset", 0), ("GNU.sparse.numbytes", 512))),
        FORMAT,
        "no GNU.sparse.size",
    ),
    "PAX 0.0 out of turn": (
        with_records(records(("GNU.sparse.size", 512), ("GNU.sparse.numbytes", 512))),
        FORMAT,
        "out of turn",
    ),
    "PAX 0.0 wrong count": (
        with_records(
            records(
                ("GNU.sparse.size", 512),
                ("GNU.sparse.numblocks", 2),
                ("GNU.sparse.offset", 0),
                ("GNU.sparse.numbytes", 512),
            )
        ),
        FORMAT,
        "1 extents, and 2 were announced",
    ),
    "PAX 0.0 backwards": (
        BOOT + pax_sparse_00("root.img", 8192, bytes(1024), [(4096, 512), (0, 512)]) + END,
        FORMAT,
        "goes back",
    ),
    "PAX 0.1 odd count": (
        with_records(records(("GNU.sparse.size", 512), ("GNU.sparse.numblocks", 1), ("GNU.sparse.map", "0,512,512"))),
        FORMAT,
        "ends with an offset",
    ),
    "PAX 0.1 empty map": (
        with_records(records(("GNU.sparse.size", 512), ("GNU.sparse.numblocks", 1), ("GNU.sparse.map", ""))),
        FORMAT,
        "0 extents, and 1 were announced",
    ),
    "PAX 0.1 overlaps": (
        BOOT + pax_sparse_01("root.img", 8192, bytes(1536), [(0, 1024), (512, 512)]) + END,
        FORMAT,
        "goes back",
    ),
    "PAX 1.0 overlaps": (
        BOOT + pax_sparse_10("root.img", 8192, bytes(1536), [(0, 1024), (512, 512)]) + END,
        FORMAT,
        "goes back",
    ),
    "PAX 1.0 beyond size": (BOOT + pax_sparse_10("root.img", 100, bytes(512), [(0, 512)]) + END, FORMAT, "size is 100"),
    "PAX 1.0 without end": (with_map_in_data(b"3\n0\n512\n", 0), FORMAT, "line that begins with"),
    "PAX 1.0 of letters": (with_map_in_data(b"1\nx\n512\n"), FORMAT, "is b'x'"),
    "PAX 1.0 endless line": (with_map_in_data(b"1" * 600), FORMAT, "line that begins with"),
    "PAX 1.0 too many": (with_map_in_data(b"9999999\n"), FORMAT, "9999999 extents, more than 2097152"),
    "PAX 1.0 stored size": (with_map_in_data(b"1\n0\n512\n", 1024), FORMAT, "512 bytes, 1024 are stored"),
    "PAX 1.0 shorter than its map": (with_map_in_data(b"", 0), FORMAT, "has no end"),
    "PAX 2.0": (with_records(records(("GNU.sparse.major", 2), ("GNU.sparse.minor", 0))), FORMAT, "not known"),
    "PAX unknown sparse record": (with_records(record("GNU.sparse.zeal", 1)), FORMAT, "not known"),
    "PAX map before a GNU header": (with_header(GNU, b"0"), FORMAT, "not the header of a POSIX file"),
    "PAX map before a v7 header": (with_header(V7, b"\0"), FORMAT, "not the header of a POSIX file"),
    "PAX map of a contiguous file": (with_header(POSIX, b"7"), FORMAT, "not the header of a POSIX file"),
    "PAX sparse versions mixed": (
        with_records(sparse_10_records("root.img", 512) + record("GNU.sparse.map", "0,512")),
        FORMAT,
        "two versions",
    ),
    "PAX real size twice": (with_records(record("GNU.sparse.realsize", 1) * 2), FORMAT, "is there twice"),
    # Members
    "no root.img": (BOOT + VERSION + END, MEMBER, "it has no root.img"),
    "no boot.img": (ROOT + VERSION + END, MEMBER, "it has no boot.img"),
    "no images": (VERSION + END, MEMBER, "it has no boot.img and no root.img"),
    "images in a folder": (member("out/boot.img", b"x") + ROOT + END, MEMBER, "it has no boot.img"),
    "boot.img twice": (BOOT + ROOT + BOOT + END, MEMBER, "boot.img is there twice"),
    "boot.img twice, once with ./": (BOOT + member("./boot.img", b"x") + ROOT + END, MEMBER, "is there twice"),
    "unknown member twice": (member("x", b"x") * 2 + WHOLE, MEMBER, "x is there twice"),
    "empty boot.img": (member("boot.img") + ROOT + END, MEMBER, "boot.img is empty"),
    "empty root.img": (BOOT + old_gnu("root.img", 0, b"", []) + END, MEMBER, "root.img is empty"),
    "symbolic link": (header("root.img", 0, b"2", **LINK) + BOOT + END, MEMBER, "root.img is a symbolic link"),
    "symbolic link beside": (header("x", 0, b"2", **LINK) + WHOLE, MEMBER, "x is a symbolic link"),
    "hard link": (BOOT + header("root.img", 0, b"1", **LINK) + END, MEMBER, "root.img is a hard link"),
    "character device": (header("root.img", 0, b"3") + BOOT + END, MEMBER, "is a character device"),
    "block device": (header("root.img", 0, b"4") + BOOT + END, MEMBER, "is a block device"),
    "symbolic link with an odd size": (header("x", b"odd", b"2") + WHOLE, MEMBER, "x is a symbolic link"),
    "fifo": (header("x", 0, b"6") + WHOLE, MEMBER, "is a fifo"),
    "directory of that name": (header("root.img", 0, b"5") + BOOT + END, MEMBER, "root.img is a directory"),
    "v7 directory of that name": (header("root.img/", 0, b"\0", V7) + BOOT + END, MEMBER, "is a directory"),
    "volume label of that name": (
        header("root.img", 0, b"V", GNU) + BOOT + END,
        MEMBER,
        "it has no root.img",
    ),
    "continued volume": (header("root.img", 0, b"M", GNU) + WHOLE, MEMBER, "continuation"),
    "unknown type": (header("x", 0, b"Z") + WHOLE, MEMBER, "unknown type b'Z'"),
    "absolute path": (member("/root.img", b"x") + WHOLE, MEMBER, "leads out of the archive"),
    "absolute path in a record": (with_records(record("path", "/root.img")), MEMBER, "leads out"),
    "absolute path in a prefix": (member("root.img", b"x", at_345=b"/etc") + WHOLE, MEMBER, "/etc/root.img has a path"),
    "..": (member("../root.img", b"x") + WHOLE, MEMBER, "leads out of the archive"),
    ".. in a long name": (member("L", b"a/../root.img\0", b"L", GNU) + ROOT + WHOLE, MEMBER, "leads out"),
    ".. as a directory": (header("a/..", 0, b"5") + WHOLE, MEMBER, "leads out of the archive"),
    "no name": (member("", b"x") + WHOLE, MEMBER, r"\(without a name\)"),
    "name with control characters": (header("a\x1b[2J\n", 0, b"2") + WHOLE, MEMBER, r"member a\\x1b\[2J\\n is"),
    "a million tiny members": (
        b"".join(member(f"m{number}", b"x") for number in range(1100)) + WHOLE,
        FORMAT,
        "more than 1024 members",
    ),
    "a million global headers": (pax(record("comment", "x"), b"g") * 1100 + WHOLE, FORMAT, "more than 1024 members"),
}
