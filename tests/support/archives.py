"""Make update images byte by byte, good ones and bad ones, without the project's code; and read them to the end."""

import hashlib
import itertools
import mmap
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from manageboot.image import UpdateImage, open_image

BLOCK = 512
END = bytes(2 * BLOCK)
POSIX, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)
WINDOW_SIZE = 1 << 20

Extents = Sequence[tuple[int, int]]


def octal(value: int, width: int = 12) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int = 12) -> bytes:
    return b"\x80" + value.to_bytes(width - 1, "big")


def pad(data: bytes, unit: int = BLOCK) -> bytes:
    return data + bytes(-len(data) % unit)


def header(
    name: str | bytes, size: int | bytes = 0, kind: bytes = b"0", magic: bytes = POSIX, **fields: bytes
) -> bytes:
    """Make a header block; fields are `at_OFFSET=bytes`, put in before the checksum is made."""
    block = bytearray(BLOCK)
    _put(block, 0, name.encode() if isinstance(name, str) else name)
    _put(block, 100, b"0000644\0" + b"0000000\0" * 2)
    _put(block, 124, size if isinstance(size, bytes) else octal(size))
    _put(block, 136, octal(0))
    _put(block, 156, kind)
    _put(block, 257, magic)
    for at, value in fields.items():
        _put(block, int(at.removeprefix("at_")), value)
    return checksummed(block)


def checksummed(block: bytes | bytearray) -> bytes:
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _put(block: bytearray, at: int, value: bytes) -> None:
    block[at : at + len(value)] = value


def member(name: str | bytes, data: bytes = b"", kind: bytes = b"0", magic: bytes = POSIX, **fields: bytes) -> bytes:
    return header(name, len(data), kind, magic, **fields) + pad(data)


def data_of(content: bytes, extents: Extents) -> bytes:
    return b"".join(content[start : start + length] for start, length in extents)


def table(extents: Extents, entries: int, number: Callable[[int], bytes] = octal) -> bytes:
    return b"".join(number(start) + number(length) for start, length in extents).ljust(24 * entries, b"\0")


def old_gnu(
    name: str, content_size: int, data: bytes, extents: Extents, number: Callable[[int], bytes] = octal, **fields: bytes
) -> bytes:
    """Make a member of type S, with as many extension headers as it takes."""
    rest = list(extents[4:])
    blocks = [
        header(
            name,
            number(len(data)),
            b"S",
            GNU,
            at_386=table(extents[:4], 4, number),
            at_482=b"\1" if rest else b"\0",
            at_483=number(content_size),
            **fields,
        )
    ]
    while rest:
        part, rest = rest[:21], rest[21:]
        blocks.append((table(part, 21, number) + (b"\1" if rest else b"\0")).ljust(BLOCK, b"\0"))
    return b"".join(blocks) + pad(data)


def record(name: str, value: str | int) -> bytes:
    """Make a record of an extended header, whose length counts its own digits."""
    rest = f" {name}={value}\n".encode()
    length = len(rest) + 1
    while len(str(length)) + len(rest) != length:
        length += 1
    return str(length).encode() + rest


def records(*pairs: tuple[str, str | int]) -> bytes:
    return b"".join(record(name, value) for name, value in pairs)


def pax(body: bytes, kind: bytes = b"x") -> bytes:
    return member("PaxHeaders/x", body, kind)


def pax_sparse_00(name: str, content_size: int, data: bytes, extents: Extents) -> bytes:
    pairs: list[tuple[str, str | int]] = [("GNU.sparse.size", content_size), ("GNU.sparse.numblocks", len(extents))]
    for start, length in extents:
        pairs += [("GNU.sparse.offset", start), ("GNU.sparse.numbytes", length)]
    return pax(records(*pairs)) + member(name, data)


def pax_sparse_01(name: str, content_size: int, data: bytes, extents: Extents) -> bytes:
    pairs: list[tuple[str, str | int]] = [
        ("GNU.sparse.size", content_size),
        ("GNU.sparse.numblocks", len(extents)),
        ("GNU.sparse.name", name),
        ("GNU.sparse.map", ",".join(f"{start},{length}" for start, length in extents)),
    ]
    return pax(records(*pairs)) + member(f"GNUSparseFile.1/{name}", data)


def pax_sparse_10(name: str, content_size: int, data: bytes, extents: Extents) -> bytes:
    lines = [len(extents), *(number for extent in extents for number in extent)]
    sparse_map = pad("".join(f"{line}\n" for line in lines).encode())
    return pax(sparse_10_records(name, content_size)) + member(f"GNUSparseFile.1/{name}", sparse_map + data)


def sparse_10_records(name: str, content_size: int) -> bytes:
    return records(
        ("GNU.sparse.major", 1),
        ("GNU.sparse.minor", 0),
        ("GNU.sparse.name", name),
        ("GNU.sparse.realsize", content_size),
    )


def zstd_frame(content: bytes, *, window: int = 0x50, kind: int = 0, checksum: bytes = b"") -> bytes:
    """Make a zstd frame with one block, of the raw type unless told otherwise."""
    block = (1 | kind << 1 | len(content) << 3).to_bytes(3, "little") + content
    return b"\x28\xb5\x2f\xfd" + bytes([0x04 if checksum else 0, window]) + block + checksum


def skippable_frame(content: bytes = b"note", kind: int = 0) -> bytes:
    return bytes([0x50 + kind]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


def xz_with_dictionary(compressed: bytes, code: int) -> bytes:
    """Change the dictionary size in the first block header of an .xz file, and mend that header's CRC."""
    size = (compressed[12] + 1) * 4
    block = bytearray(compressed[12 : 12 + size])
    assert block[2:4] == b"\x21\x01"
    block[4] = code
    block[-4:] = zlib.crc32(block[:-4]).to_bytes(4, "little")
    return compressed[:12] + bytes(block) + compressed[12 + size :]


def hole_of(extents: Extents, size: int, position: int, step: int) -> int:
    """Bytes of whole steps, from a position of an image on, that hold no data; the last step may be shorter."""
    begin = position
    while position < size:
        end = min(position + step, size)
        if any(length and at < end and position < at + length for at, length in extents):
            break
        position = end
    return position - begin


def read_image(
    image: UpdateImage, sizes: Iterator[int] | None = None, root_extents: Extents | None = None
) -> dict[str, bytes]:
    """Read all members as an installation does, in steps of the sizes; small images only.

    With the extents of root.img, also check that just those of its steps are passed over that are holes.
    """
    found: dict[str, bytes] = {}
    for one in image.members():
        content = bytearray()
        for step in sizes or itertools.repeat(WINDOW_SIZE):
            hole = one.skip_hole(step)
            if one.name == "root.img" and root_extents is not None:
                assert hole == hole_of(root_extents, one.size, len(content), step)
            content += bytes(hole)
            if len(content) == one.size:
                break
            window = bytearray(b"\xa5" * min(step, one.size - len(content)))
            one.readinto(memoryview(window))
            content += window
        found[one.name] = bytes(content)
    return found


def read_path(
    path: Path | str, sizes: Iterator[int] | None = None, root_extents: Extents | None = None
) -> dict[str, bytes]:
    with open_image([str(path)]) as image:
        return read_image(image, sizes, root_extents)


def digests(image: UpdateImage) -> dict[str, str]:
    """Read all members into one aligned window, and return the SHA-256 of each."""
    buffer = memoryview(mmap.mmap(-1, WINDOW_SIZE))
    zeros = bytes(WINDOW_SIZE)
    found: dict[str, str] = {}
    for one in image.members():
        digest = hashlib.sha256()
        position = 0
        while position < one.size:
            hole = one.skip_hole(WINDOW_SIZE)
            for at in range(0, hole, WINDOW_SIZE):
                digest.update(zeros[: min(WINDOW_SIZE, hole - at)])
            position += hole
            window = buffer[: min(WINDOW_SIZE, one.size - position)]
            one.readinto(window)
            digest.update(window)
            position += len(window)
        found[one.name] = digest.hexdigest()
    return found
