"""The version of an update image, as its VERSION.TXT has it.

It is for people, and says nothing about the images: one that can't be read is told, and refuses none.
"""

import unicodedata
from typing import NamedTuple

from manageboot.image.member import VERSION, Member

MAX_VERSION_SIZE = 4096  # bytes

_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Version(NamedTuple):
    """What a VERSION.TXT says."""

    text: str | None = None
    """The version; None where there is none, or none that can be read."""
    problem: str | None = None
    """Why it can't be read, as a sentence."""


def read_version(member: Member) -> Version:
    """Read a VERSION.TXT to its end: one line of UTF-8, without the white space around it and a byte order mark.

    Raises:
        DataError: the update image is bad or ends too early.
        DeviceError: reading failed.
    """
    if member.size > MAX_VERSION_SIZE:
        return _unreadable(f"has {member.size} bytes, and {MAX_VERSION_SIZE} are allowed")
    content = bytearray(member.size)
    member.readinto(memoryview(content))
    if content[:2] in _UTF_16:
        return _unreadable("is in UTF-16, and has to be in UTF-8")
    try:
        text = content.removeprefix(_BOM).decode().strip()
    except UnicodeDecodeError as error:
        at = error.start
        return _unreadable(f"is not in UTF-8: byte {at} is 0x{error.object[at]:02x}")
    odd = next((at for at, character in enumerate(text) if not character.isprintable()), None)
    if odd is not None:
        return _unreadable(f"is not one line of text: character {odd} of it is {_named(text[odd])}")
    return Version(text or None)


def _unreadable(cause: str) -> Version:
    return Version(problem=f"{VERSION} {cause}; the version is unknown")


def _named(character: str) -> str:
    name = {"\n": "LINE FEED", "\r": "CARRIAGE RETURN", "\t": "TAB", "\0": "NUL"}.get(character)
    name = name or unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
