"""The layout of an environment block, declared with construct: a signature, lines, padding up to the end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from construct import Adapter, Const, Construct, GreedyBytes, GreedyRange, NullTerminated, StreamError, Struct, Tell

from grubenv.view import SIGNATURE

if TYPE_CHECKING:
    from io import BytesIO

PADDING_BYTE = b"#"

_LINE = re.compile(rb"(?:[^\\\n]++|\\.)*+\n", re.DOTALL)
_ESCAPE_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_MUST_ESCAPE = re.compile(rb"([\\\n])")
_READ_AHEAD_BYTES = 256


class TerminatedLine(Construct):  # type: ignore[misc]  # construct ships no types
    """Take bytes up to and with the first newline that no backslash hides.

    Source: GRUB grub-core/lib/envblk.c, find_next_line.
    """

    def _parse(self, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 construct's signature
        start = stream.tell()
        ahead = _READ_AHEAD_BYTES
        while True:
            stream.seek(start)
            data = stream.read(ahead)
            match = _LINE.match(data)
            if match:
                stream.seek(start + match.end())
                return match.group()
            if len(data) < ahead:
                message = "no newline before the end"
                raise StreamError(message, path=path)
            ahead *= 2

    def _build(self, obj: bytes, stream: BytesIO, context: Any, path: str) -> bytes:  # noqa: ARG002 as above
        if not _LINE.fullmatch(obj):
            message = "a line ends with its only newline"
            raise StreamError(message, path=path)
        stream.write(obj)
        return obj


class Escaped(Adapter):  # type: ignore[misc]  # construct ships no types
    """Hide newlines and backslashes behind a backslash.

    Source: GRUB grub-core/lib/envblk.c, grub_envblk_set and grub_envblk_iterate.
    """

    def _decode(self, obj: bytes, context: Any, path: str) -> bytes:  # noqa: ARG002 construct's signature
        return _ESCAPE_PAIR.sub(rb"\1", obj)

    def _encode(self, obj: bytes, context: Any, path: str) -> bytes:  # noqa: ARG002 as above
        return _MUST_ESCAPE.sub(rb"\\\1", obj)


ASSIGNMENT = Struct(
    "name" / NullTerminated(GreedyBytes, term=b"="),
    "value" / Escaped(GreedyBytes),
)
"""One variable, without the newline that ends its line."""

BLOCK = Struct(
    "signature" / Const(SIGNATURE),
    "lines" / GreedyRange(Struct("offset" / Tell, "raw" / TerminatedLine())),
    "padding_offset" / Tell,
    "padding" / GreedyBytes,
)
"""A whole block. What may stand in a line and in the padding is for `grubenv.block` to judge."""
