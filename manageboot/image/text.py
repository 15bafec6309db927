"""Recognise text by its first bytes, and name what kind of text it is: a page of a web server, say.

Text is taken for text only where it has white space, as words and lines have, and no control characters; JSON also
where it has none, as servers and programs send it.
"""

LFS_POINTER = "a Git LFS pointer"

_LOOK_BYTES = 4096
_SHOWN_CHARACTERS = 40
_BOM = b"\xef\xbb\xbf"
_UTF_16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_WHITE_SPACE = b" \t\n\r\f"
_CONTROLS = frozenset(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _WHITE_SPACE)
_MOST_FOREIGN = 1 / 4
"""How much of a text in an older encoding may be other characters than ASCII's."""

# These tell it alone, whatever follows.
_SURE = (
    (b"version https://git-lfs.github.com/spec/", LFS_POINTER),
    (b"-----begin ", "PEM, such as a key or a certificate"),
    (b"<!doctype html", "an HTML page"),
    (b"<html", "an HTML page"),
    (b"<?xml", "XML"),
)
_JSON = ('{"', '["', '[{"', '[["')
_KINDS = (("<", "XML"), ("{", "JSON"), ("[", "JSON"), ("#!", "a script"))


def kind_of_text(head: bytes) -> str | None:
    """Name the kind of text that something begins with, as in "it is ..."; None where it is no text.

    Args:
        head: its first bytes, or all of them where it is short.
    """
    begin = head[:_LOOK_BYTES].removeprefix(_BOM).lstrip(_WHITE_SPACE).lower()
    if (sure := next((kind for beginning, kind in _SURE if begin.startswith(beginning)), None)) is not None:
        return sure
    text = _decoded(head)
    if text is None or not (text.startswith(_JSON) or any(character.isspace() for character in text)):
        return None
    return next((kind for beginning, kind in _KINDS if text.lstrip().startswith(beginning)), "text")


def excerpt(head: bytes) -> str:
    """Return how text begins: in one line, without what can't be printed, and in quotation marks."""
    words = " ".join((_decoded(head) or "").split())
    shown = "".join(character for character in words if character.isprintable())
    return repr(shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}...")


def _decoded(head: bytes) -> str | None:
    """Return the beginning of a text; None where it is none."""
    part = head[:_LOOK_BYTES]
    if part[:2] in _UTF_16:
        text = part[2:].decode(_UTF_16[part[:2]], "replace")
    else:
        # The last character may be cut, by any of its three bytes after the first.
        text = part.removeprefix(_BOM).decode("utf-8", "replace").rstrip("\ufffd")
        if "\ufffd" in text:
            text = part.decode("latin-1")
            if sum(character > "\x7f" for character in text) > len(text) * _MOST_FOREIGN:
                return None
    return None if "\ufffd" in text or not _CONTROLS.isdisjoint(text) else text
