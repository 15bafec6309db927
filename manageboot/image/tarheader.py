"""Read one header block of a tar archive: its checksum, its numbers, its name.

Three dialects share the block: v7 (no magic), POSIX (`ustar`, with a prefix for the name) and old GNU (`ustar` and two
spaces, with sparse maps where POSIX has the prefix). Nothing here does I/O.

Source: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format".
"""

import enum
from dataclasses import dataclass

BLOCK_SIZE = 512  # bytes; everything in an archive begins at a multiple of it
MAX_SIZE = 1 << 44  # bytes, 16 TiB: the largest ext4 file system there can be

_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_CHECKSUM = slice(148, 156)
_TYPE = slice(156, 157)
_MAGIC = slice(257, 265)
_POSIX_MAGIC = b"ustar\0"  # GNU tar looks at no more of it; old Java tools leave a version of their own behind it
_GNU_MAGIC = b"ustar  \0"
_NO_MAGIC = bytes(6)
_PREFIX = slice(345, 500)
_BASE_256 = 0x80  # as first byte: a big-endian binary number follows
_SHOWN_NAME = 200  # characters
_SPACES = b" " * 8


class FieldError(Exception):
    """A field of an archive breaks its format; the message says which and how, its catcher knows where."""


class Dialect(enum.Enum):
    """Which fields a header has besides those that all have."""

    V7 = "v7"
    POSIX = "posix"
    GNU = "gnu"


@dataclass(frozen=True, slots=True)
class Header:
    """What a header block says."""

    name: str
    type: bytes  # one byte
    dialect: Dialect
    block: bytes

    @property
    def size(self) -> int:
        """How many bytes follow in the archive, padding not counted; asked for where the type has any.

        Raises:
            FieldError: it is no such number.
        """
        return size(self.block[_SIZE], "size")


def has_magic(block: bytes) -> bool:
    """Tell whether a block carries the magic of a POSIX or GNU header."""
    return block[257:262] == b"ustar"


def checksum_holds(block: bytes) -> bool:
    """Tell whether a block is a header by its checksum, be it of unsigned or, as some old tars did, signed bytes."""
    try:
        expected = number(block[_CHECKSUM], "checksum")
    except FieldError:
        return False
    return expected in sums(block)


def sums(block: bytes) -> tuple[int, int]:
    """Add up a header's bytes, its checksum field taken as spaces: as unsigned and as signed ones."""
    counted = block[: _CHECKSUM.start] + _SPACES + block[_CHECKSUM.stop :]
    unsigned = sum(counted)
    return unsigned, unsigned - 256 * sum(byte >> 7 for byte in counted)


def parse(block: bytes) -> Header:
    """Read a header block of 512 bytes that is not all zeros.

    Raises:
        FieldError: the checksum is wrong, or the dialect is not known.
    """
    expected = number(block[_CHECKSUM], "checksum")
    if expected not in (found := sums(block)):
        message = f"the header's checksum is {found[0]}, and {expected} is what it says"
        raise FieldError(message)
    dialect = _dialect(block[_MAGIC])
    if dialect is None:
        message = f"the header's magic is {block[_MAGIC]!r}, which is not a known kind of tar"
        raise FieldError(message)
    name = text(block[_NAME])
    if dialect is Dialect.POSIX and (prefix := text(block[_PREFIX])):
        name = f"{prefix}/{name}"
    return Header(name, block[_TYPE], dialect, block)


def _dialect(magic: bytes) -> Dialect | None:
    if magic.startswith(_POSIX_MAGIC):
        return Dialect.POSIX
    if magic.startswith(_NO_MAGIC):  # a version alone is none, whatever it says
        return Dialect.V7
    return Dialect.GNU if magic == _GNU_MAGIC else None


def text(field: bytes) -> str:
    """Decode a field that ends at its first NUL."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def shown(name: str) -> str:
    """Return a name as it may stand in a message: in one line, without control characters, and not too long."""
    return name[:_SHOWN_NAME].encode("unicode_escape").decode("ascii") or "(without a name)"


def number(field: bytes, what: str) -> int:
    """Read a numeric field: octal digits up to a NUL or space, or, marked by its first byte, a binary number.

    One NUL before the digits is no end of them, as GNU tar has it: the field before may have run over. What stands
    behind the NUL that ends them is what the writer had in its memory.

    Raises:
        FieldError: it is empty, negative, or neither of the two.
    """
    if field[:1] == bytes([_BASE_256]):
        return int.from_bytes(field[1:], "big")
    digits = field.removeprefix(b"\0").partition(b"\0")[0].strip(b" ")
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        message = f"the {what} is {field!r}, which is not a number"
        raise FieldError(message)
    return int(digits, 8)


def decimal(digits: bytes, what: str) -> int:
    """Read a decimal number as extended headers have them, up to MAX_SIZE.

    Raises:
        FieldError: there are other characters in it, or it is too large.
    """
    if not digits.isdigit() or len(digits) > len(str(MAX_SIZE)):
        message = f"the {what} is {digits[:40]!r}, which is not a number, or is too large"
        raise FieldError(message)
    return within(int(digits), what)


def size(field: bytes, what: str) -> int:
    """Read a numeric field that counts bytes, up to MAX_SIZE; an empty one says 0, which some writers leave away.

    Raises:
        FieldError: it is no such number.
    """
    return within(number(field, what), what) if field.strip(b"\0 ") else 0


def within(value: int, what: str) -> int:
    """Return a number of bytes if it is at most MAX_SIZE.

    Raises:
        FieldError: it is larger.
    """
    if value > MAX_SIZE:
        message = f"the {what} is {value}, more than the {MAX_SIZE} that are allowed"
        raise FieldError(message)
    return value
