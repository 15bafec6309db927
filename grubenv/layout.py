"""The layout of an environment block, declared with construct: a signature, lines, padding up to the end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from construct import Const, Construct, GreedyBytes, StreamError, Struct, Tell

from grubenv.view import SIGNATURE

if TYPE_CHECKING:
    from io import BytesIO

PADDING_BYTE = b"#"

_LINE = re.compile(rb"(?:[^\\\n]++|\\.)*+\n", re.DOTALL)
_ESCAPE_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_MUST_ESCAPE = re.compile(rb"([\\\n])")


class Piece(NamedTuple):
    """One line as it lies in the block: where it begins, and its bytes with the newline."""

    offset: int
    raw: bytes


class Lines(Construct):  # type: ignore[misc]  # construct ships no types
    """Take lines up to and with the last newline that no backslash hides.

    This is one construct for all lines: with one for each, a block of 1 MiB took ten seconds.

    Source: GRUB grub-core/lib/envblk.c, find_next_line.
    """

    def _parse(self, stream: BytesIO, context: Any, path: str) -> list[Piece]:  # noqa: ARG002  construct calls it so
        start = stream.tell()
        data = stream.read()
        pieces = []
        position = 0
        while match := _LINE.match(data, position):
            pieces.append(Piece(start + position, match.group()))
            position = match.end()
        stream.seek(start + position)
        return pieces

    def _build(self, obj: Iterable[Piece], stream: BytesIO, context: Any, path: str) -> Iterable[Piece]:  # noqa: ARG002  construct calls it so
        for piece in obj:
            if not _LINE.fullmatch(piece.raw):
                message = "a line ends with its only newline"
                raise StreamError(message, path=path)
            stream.write(piece.raw)
        return obj


BLOCK = Struct(
    "signature" / Const(SIGNATURE),
    "lines" / Lines(),
    "padding_offset" / Tell,
    "padding" / GreedyBytes,
)
"""A whole block. What may stand in a line and in the padding is for `grubenv.block` to judge."""


def split(assignment: bytes) -> tuple[bytes, bytes]:
    """Return name and value of a line without its newline; in the value, a backslash gives the byte behind it.

    Source: GRUB grub-core/lib/envblk.c, grub_envblk_iterate.
    """
    name, _, value = assignment.partition(b"=")
    return name, _ESCAPE_PAIR.sub(rb"\1", value) if b"\\" in value else value


def join(name: bytes, value: bytes) -> bytes:
    """Return the line, without its newline, that `split` takes apart.

    Source: GRUB grub-core/lib/envblk.c, grub_envblk_set.
    """
    return name + b"=" + _MUST_ESCAPE.sub(rb"\\\1", value)
