"""Bad compressed streams: each with the class of its error, and what the message has to say."""

import bz2
import gzip
import lzma
import subprocess

from image.bad_archives import END_AT, FORMAT, MEMBER, TRUNCATED, WHOLE, Case, broken
from support.archives import (
    skippable_frame,
    xz_with_dictionary,
    zstd_frame,
)
from support.contents import EXT4, LFS_POINTER


def zstd(data: bytes, *options: str) -> bytes:
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, check=True, stdout=-1).stdout


ZSTD, GZIP, XZ, BZIP2 = zstd(WHOLE), gzip.compress(WHOLE, mtime=0), lzma.compress(WHOLE), bz2.compress(WHOLE)


COMPRESSED: dict[str, Case] = {
    # zstd: where the frames end
    "zstd + in the magic": (zstd_frame(WHOLE[:9000]) + b"\x28\xb5\x2f", TRUNCATED, "inside a zstd frame, "),
    "zstd + in the frame header": (ZSTD[:5], TRUNCATED, "inside a zstd frame header, after 5 bytes"),
    "zstd + in the second frame header": (
        zstd_frame(WHOLE[:9000]) + zstd_frame(WHOLE[9000:])[:5],
        TRUNCATED,
        "inside a zstd frame header, .* 1 bytes",
    ),
    "zstd + in a block header": (ZSTD[:6], TRUNCATED, "inside a zstd block header, after 6 bytes"),
    "zstd + in the second frame's block header": (
        zstd_frame(WHOLE[:9000]) + zstd_frame(WHOLE[9000:])[:8],
        TRUNCATED,
        "zstd block header, after 9017",
    ),
    "zstd + after a block header": (
        zstd_frame(WHOLE[:9000]) + zstd_frame(WHOLE[9000:])[:9],
        TRUNCATED,
        "inside a zstd block, ",
    ),
    "zstd + in a block": (zstd_frame(WHOLE)[:5000], TRUNCATED, f"after 5000 bytes, at least {len(WHOLE) - 4992} bytes"),
    "zstd + before the last byte": (ZSTD[:-1], TRUNCATED, "at least 1 bytes too early"),
    "zstd + before the checksum": (ZSTD[:-4], TRUNCATED, "inside a zstd block"),
    "zstd + after a whole frame": (zstd_frame(WHOLE[:9000]), TRUNCATED, "root.img ends after .* of 15360"),
    "zstd + in a skippable frame's size": (ZSTD + skippable_frame()[:6], TRUNCATED, "zstd skippable frame"),
    "zstd + in a skippable frame": (ZSTD + skippable_frame()[:-1], TRUNCATED, "zstd skippable frame"),
    "zstd + in a skippable magic": (ZSTD + b"\x53\x2a", TRUNCATED, "inside a zstd frame"),
    "zstd of a cut tar": (zstd(WHOLE[: END_AT + 512]), TRUNCATED, "after one of the two blocks"),
    "only a skippable frame": (skippable_frame(bytes(600)), TRUNCATED, "without the two blocks"),
    "zstd of nothing": (skippable_frame(bytes(600)) + zstd(b""), TRUNCATED, "without the two blocks"),
    # zstd: wrong content
    "zstd, one byte after it": (ZSTD + b"\0", FORMAT, rf"00 instead of a zstd frame or the end at offset {len(ZSTD)}"),
    "zstd, zeros after it": (ZSTD + bytes(512), FORMAT, "00000000 instead of a zstd frame"),
    "zstd, text after it": (ZSTD + b"(more)", FORMAT, "instead of a zstd frame"),
    "zstd, gzip after it": (ZSTD + GZIP, FORMAT, "instead of a zstd frame"),
    "zstd, tar after its end": (ZSTD + zstd(b"more"), FORMAT, "data after its end"),
    "zstd, two archives": (ZSTD + ZSTD, FORMAT, "data after its end"),
    "zstd, reserved bit": (broken(ZSTD, 4, bytes([ZSTD[4] | 8])), FORMAT, "reserved bit is set .* offset 4 of"),
    "zstd, dictionary": (ZSTD + b"\x28\xb5\x2f\xfd\x01\x50\x07", FORMAT, "needs a dictionary"),
    "zstd, dictionary of 2 bytes": (ZSTD + b"\x28\xb5\x2f\xfd\x02\x50\0\7", FORMAT, "needs a dictionary"),
    "zstd, dictionary of 4 bytes": (ZSTD + b"\x28\xb5\x2f\xfd\x03\x50\0\0\0\7", FORMAT, "needs a dictionary"),
    "zstd, window of 128 MiB and an eighth": (ZSTD + b"\x28\xb5\x2f\xfd\0\x89", FORMAT, "window of 150994944 bytes"),
    "zstd, window of 3.75 TiB": (b"\x28\xb5\x2f\xfd\0\xff" + bytes(600), FORMAT, "window of 4123168604160 bytes"),
    "zstd, one segment of 4 GiB": (
        b"\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff" + bytes(600),
        FORMAT,
        "window of 4294967295",
    ),
    "zstd, reserved block type": (zstd_frame(WHOLE, kind=3), FORMAT, "reserved type"),
    "zstd, block beyond its window": (zstd_frame(WHOLE, window=0), FORMAT, f"{len(WHOLE)} bytes, at most 1024"),
    "zstd, wrong checksum": (broken(ZSTD, len(ZSTD) - 1, bytes([ZSTD[-1] ^ 1])), FORMAT, "can't be decompressed"),
    "zstd, damaged block": (broken(ZSTD, 1000, b"\xff" * 40), FORMAT, "can't be decompressed|zstd block"),
    "zstd, old version": (b"\x27\xb5\x2f\xfd" + ZSTD[4:], FORMAT, "neither tar"),
    "zstd of text": (zstd(b"hello\n" * 200), FORMAT, "inside the zstd stream is text, not tar"),
    "zstd of a pointer": (zstd(LFS_POINTER), FORMAT, "inside the zstd stream is a Git LFS pointer, not tar"),
    "zstd of something unknown": (
        zstd(b"\x80" * 600),
        FORMAT,
        "inside the zstd stream is no tar: it begins with 80 80 80 80 80 80 80 80$",
    ),
    "gzip of a file system": (gzip.compress(EXT4), FORMAT, "inside the gzip stream is an ext4 file system, not tar"),
    "zstd of zeros": (zstd(bytes(5000)) + skippable_frame(bytes(600)), MEMBER, "it has no boot.img"),
    "zstd in zstd": (zstd(ZSTD), FORMAT, "inside the zstd stream is zstd, not tar"),
    "zstd in gzip": (gzip.compress(ZSTD), FORMAT, "inside the gzip stream is zstd, not tar"),
    "gzip in xz": (lzma.compress(GZIP), FORMAT, "inside the xz stream is gzip, not tar"),
    "xz in bzip2": (bz2.compress(XZ), FORMAT, "inside the bzip2 stream is xz, not tar"),
    "too many zstd frames": (skippable_frame(b"") * (2**18 + 1), FORMAT, "more than 262144 zstd frames"),
    "too many zstd blocks": (b"\x28\xb5\x2f\xfd\0\x50" + bytes(3 * 2**22 + 3), FORMAT, "more than 4194304 zstd blocks"),
    # gzip
    "gzip + in data": (GZIP[:9000], TRUNCATED, "inside gzip data, after 9000 bytes"),
    "gzip + before the trailer": (GZIP[:-8], TRUNCATED, "inside gzip data"),
    "gzip + in the trailer": (GZIP[:-3], TRUNCATED, "inside gzip data"),
    "gzip + in another member's magic": (GZIP + b"\x1f", TRUNCATED, "inside gzip data"),
    "gzip + in another member's header": (GZIP + GZIP[:7], TRUNCATED, "inside gzip data"),
    "gzip, wrong CRC": (broken(GZIP, len(GZIP) - 8, b"\0\0\0\0"), FORMAT, "can't be decompressed"),
    "gzip, wrong length": (broken(GZIP, len(GZIP) - 4, b"\0\0\0\0"), FORMAT, "can't be decompressed"),
    "gzip, damaged": (broken(GZIP, 5000, b"\xff" * 40), FORMAT, "can't be decompressed|checksum"),
    "gzip, zeros after it": (GZIP + bytes(512), FORMAT, "000000 instead of another gzip stream"),
    "gzip, a byte after it": (GZIP + b"x", FORMAT, rf"78 instead of another gzip .* at offset {len(GZIP)}"),
    "gzip, unknown method": (b"\x1f\x8b\x09" + GZIP[3:], FORMAT, "neither tar"),
    "gzip, two archives": (GZIP + GZIP, FORMAT, "data after its end"),
    "gzip of a cut tar": (gzip.compress(WHOLE[:9000]), TRUNCATED, "root.img ends after"),
    "too many gzip members": (gzip.compress(b"", 1, mtime=0) * (2**18 + 1), FORMAT, "more than 262144 gzip streams"),
    # xz
    "xz + in the stream header": (XZ + XZ[:3], TRUNCATED, "inside xz data"),
    "xz + in data": (XZ[:9000], TRUNCATED, "inside xz data"),
    "xz + before the footer": (XZ[:-12], TRUNCATED, "inside xz data"),
    "xz + in the footer": (XZ[:-1], TRUNCATED, "inside xz data"),
    "xz, uneven padding": (XZ + bytes(6), FORMAT, "6 bytes of xz padding"),
    "xz, uneven padding between": (XZ + bytes(3) + XZ, FORMAT, "3 bytes of xz padding"),
    "xz, garbage after it": (XZ + b"garbage", FORMAT, "67617262.* instead of another xz stream"),
    "xz, garbage after padding": (XZ + bytes(4) + b"garbage", FORMAT, "instead of another xz stream"),
    "xz, wrong CRC": (broken(XZ, len(XZ) - 10, b"\xff\xff"), FORMAT, "can't be decompressed"),
    "xz, damaged": (broken(XZ, 5000, b"\xff" * 40), FORMAT, "can't be decompressed|checksum"),
    "xz, dictionary of 4 GiB": (xz_with_dictionary(XZ, 40), FORMAT, "needs 4096 MiB of memory, and 160 are allowed"),
    "xz, dictionary of 192 MiB": (xz_with_dictionary(XZ, 31), FORMAT, "needs 193 MiB of memory, and 160 are allowed"),
    "xz, a second stream with a dictionary of 1536 MiB": (
        XZ + xz_with_dictionary(XZ, 37),
        FORMAT,
        "needs 1537 MiB of memory, and 160 are allowed",
    ),
    "xz, two archives": (XZ + XZ, FORMAT, "data after its end"),
    # bzip2
    "bzip2 + in data": (BZIP2[:9000], TRUNCATED, "inside bzip2 data"),
    "bzip2 + in the trailer": (BZIP2[:-2], TRUNCATED, "inside bzip2 data"),
    "bzip2, damaged": (broken(BZIP2, 5000, b"\xff" * 40), FORMAT, "can't be decompressed"),
    "bzip2, zeros after it": (BZIP2 + bytes(16), FORMAT, "000000 instead of another bzip2 stream"),
    "bzip2, garbage after it": (BZIP2 + b"BZ?", FORMAT, "instead of another bzip2 stream"),
}
