"""What GRUB sees in the bytes of an environment block, its oddities included.

This reader is small, needs nothing but the language, and is written independently of the codec in
`grubenv.layout`: queries use it because it starts fast, and every write is checked with it before a byte lands.
"""

from __future__ import annotations

from grubenv.errors import Damage, DamagedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"# GRUB Environment Block\n"
SECTOR_SIZE = 512
"""The unit, in bytes, that a disk writes whole or not at all."""
DEFAULT_SIZE = 1024
"""The size, in bytes, that GRUB's tools make and assume."""
MIN_SIZE = len(SIGNATURE) + 1
"""The smallest block, in bytes, that GRUB accepts: it compares with the signature's size, its final NUL included."""

_HASH, _EQUALS, _NEWLINE, _BACKSLASH = b"#=\n\\"


def iterate(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    r"""Yield the (name, value) pairs that GRUB finds in `data`, in order, duplicates included.

    Oddities that are GRUB's own: a name is everything up to the next `=`, newlines included; a backslash hides
    the byte behind it from the search for the line's end, in comments too; an unfinished last line ends the
    reading silently; a NUL ends the name or value that it stands in.

    Raises:
        DamagedError: GRUB refuses the block as a whole: it is too short or does not begin with the signature.

    Source: GRUB grub-core/lib/envblk.c, grub_envblk_open and grub_envblk_iterate.

    >>> list(iterate(SIGNATURE + b"saved=a=b\n# note\ntwo=x\\\ny\n###"))
    [(b'saved', b'a=b'), (b'two', b'x\ny')]
    """
    refusal = refused(data)
    if refusal is not None:
        raise DamagedError([refusal])
    position = len(SIGNATURE)
    while position < len(data):
        if data[position] == _HASH:
            position = _line_end(data, position) + 1
            continue
        equals = data.find(_EQUALS, position)
        if equals < 0:
            return
        end = _line_end(data, equals + 1)
        if end >= len(data):
            return
        name, value = data[position:equals], _unescape(data[equals + 1 : end])
        yield name.partition(b"\0")[0], value.partition(b"\0")[0]
        position = end + 1


def variables(data: bytes) -> dict[str, str]:
    """Return what GRUB's `load_env` makes of `data`: of duplicate names the last one counts.

    Bytes that are not UTF-8 become surrogate escapes, so that no byte is lost.

    Raises:
        DamagedError: GRUB refuses the block as a whole.

    Source: GRUB grub-core/commands/loadenv.c, grub_cmd_load_env.
    """
    return {text(name): text(value) for name, value in iterate(data)}


def refused(data: bytes) -> Damage | None:
    """Return why GRUB refuses `data` as a whole, or None if it reads it."""
    if not data:
        return Damage("empty", None, "empty, 0 bytes")
    if not data.strip(b"\0"):
        return Damage("nul-filled", None, f"{len(data)} NUL bytes and nothing else")
    if len(data) < MIN_SIZE:
        return Damage("short", None, f"too short, {len(data)} bytes")
    if not data.startswith(SIGNATURE):
        return Damage("no-signature", 0, "no signature")
    return None


def text(data: bytes) -> str:
    """Return `data` as text that gives the same bytes back through `raw`."""
    return data.decode("utf-8", "surrogateescape")


def raw(string: str) -> bytes:
    """Return the bytes that `text` made `string` from."""
    return string.encode("utf-8", "surrogateescape")


def _line_end(data: bytes, position: int) -> int:
    """Return where the next newline without a backslash is, or a number beyond the data."""
    newline = -1
    while position < len(data):
        if newline < position:
            newline = data.find(_NEWLINE, position) % (len(data) + 1)  # none: the end
        backslash = data.find(_BACKSLASH, position, newline)
        if backslash < 0:
            return newline
        position = backslash + 2
    return position


def _unescape(value: bytes) -> bytes:
    """Return `value` with the first backslash of each pair taken out."""
    if _BACKSLASH not in value:
        return value
    plain = bytearray()
    position = 0
    while position < len(value):
        if value[position] == _BACKSLASH:
            position += 1
        plain.append(value[position])
        position += 1
    return bytes(plain)
