r"""Text that was bytes, or goes where not every character may: the one place that decodes, and the one that escapes.

Names of files, the output of programs and what a disk says of itself are bytes. They are UTF-8 here whatever the locale
is, and a byte that is none shows as \xNN. Python itself keeps such a byte as half of a surrogate pair, which nothing
outside can take.
"""

import re
from typing import Any

# Compiled where they are used: no query has such a text, and each of these sets costs it half a millisecond.
_HALF = "[\ud800-\udfff]"
_BREAKING = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
"""Control characters, those that break lines or turn their direction round, and halves of surrogate pairs."""


def decode(content: bytes) -> str:
    r"""Return the text of bytes; those that are no UTF-8 are written as \xNN."""
    return content.decode("utf-8", "backslashreplace")


def encodable(text: str) -> str:
    r"""Write bytes that are no UTF-8 as \xNN, so that the text can go wherever UTF-8 does. Lines stay lines."""
    return text if text.isprintable() else re.sub(_HALF, _escaped, text)


def one_line(text: str) -> str:
    r"""Write as \xNN what would break a line, or the terminal that shows it: such may come with a file's name."""
    # None of those is printable, to Python either.
    return text if text.isprintable() else re.sub(_BREAKING, _escaped, text)


def joined(text: str) -> str:
    """Put lines, as a program prints them, into one."""
    return one_line(" / ".join(text.splitlines()))


def encodable_all(value: Any) -> Any:
    """Make all text in what JSON takes encodable: JSON itself would write half of a surrogate pair, and few read it."""
    match value:
        case str():
            return encodable(value)
        case dict():
            return {encodable_all(key): encodable_all(one) for key, one in value.items()}
        case list() | tuple():
            return [encodable_all(one) for one in value]
    return value


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    # Python's own way to keep a byte, PEP 383.
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{byte:04x}"
