"""What parent and child say to each other: frames over two pipes, each a kind, the length of its body, and the body.

The child believes its parent, which tells it what to do. The parent takes each frame of the child for one that an
attacker may have made.
"""

import os
import struct
from enum import IntEnum
from typing import NamedTuple

from manageboot.fetch.outcome import Outcome

_HEADER = struct.Struct("<BI")
_REQUEST = struct.Struct("<QQB")
_BEGIN = struct.Struct("<Q")
_END = struct.Struct("<BIQ")

TO_THE_END = 2**64 - 1
"""As the length of a request: all there is."""
UNKNOWN = 2**64 - 1
"""As the total of a file: the server did not say."""
ANSWER_MAX = 64 * 1024
"""Bytes in the body of a frame from the child."""
SETUP_MAX = 16 * 1024 * 1024
"""Bytes in the body of a frame from the parent."""
_TEXT_MAX = 500


class WireError(Exception):
    """A frame that nobody who keeps to the rules sends, or the other side is gone."""


class Kind(IntEnum):
    """What a frame is."""

    SETUP = 1
    """From the parent, first: how to fetch, and the files that it takes."""
    READY = 2
    """From the child: it is locked in."""
    UNFIT = 3
    """From the child: it could not be, and why."""
    REQUEST = 4
    """From the parent: fetch this."""
    BEGIN = 5
    """From the child: the server sends it."""
    DATA = 6
    """From the child: the next bytes."""
    END = 7
    """From the child: no more comes, and why."""


class Request(NamedTuple):
    """A part of a file, for the child to fetch."""

    url: str
    offset: int
    length: int
    """TO_THE_END: all that there is."""
    whole: bool
    """Do not ask for a range: the file is small, and nobody knows its size."""

    def pack(self) -> bytes:
        """Return the body of the frame."""
        return _REQUEST.pack(self.offset, self.length, self.whole) + self.url.encode()

    @classmethod
    def unpack(cls, body: bytes) -> "Request":
        """Read the body of a frame."""
        offset, length, whole = _REQUEST.unpack_from(body)
        return cls(body[_REQUEST.size :].decode(), offset, length, bool(whole))


class End(NamedTuple):
    """How a request ended."""

    outcome: Outcome
    text: str = ""
    """The cause, for a person."""
    retry_after_s: int = 0
    skipped: int = 0
    """Bytes that the server sent though they lie before what was asked for."""

    def pack(self) -> bytes:
        """Return the body of the frame."""
        return (
            _END.pack(self.outcome, min(self.retry_after_s, 2**32 - 1), self.skipped) + self.text.encode()[:_TEXT_MAX]
        )

    @classmethod
    def unpack(cls, body: bytes) -> "End":
        """Read the body of a frame.

        Raises:
            WireError: it can't be one.
        """
        try:
            outcome, retry_after_s, skipped = _END.unpack_from(body)
            text = body[_END.size : _END.size + _TEXT_MAX].decode("utf-8", "replace")
            return cls(Outcome(outcome), text, retry_after_s, skipped)
        except (struct.error, ValueError) as error:
            raise WireError("a frame END that can't be read") from error


def pack_begin(total: int | None) -> bytes:
    """Return the body of a frame BEGIN.

    Args:
        total: size of the whole file, as far as the server says.
    """
    return _BEGIN.pack(UNKNOWN if total is None else total)


def unpack_begin(body: bytes) -> int | None:
    """Read the body of a frame BEGIN.

    Raises:
        WireError: it can't be one.
    """
    if len(body) != _BEGIN.size:
        raise WireError("a frame BEGIN that can't be read")
    total = int(_BEGIN.unpack(body)[0])
    return None if total == UNKNOWN else total


def packed(kind: Kind, body: bytes = b"") -> bytes:
    """Return a frame."""
    return _HEADER.pack(kind, len(body)) + body


def send(descriptor: int, kind: Kind, body: bytes = b"") -> None:
    """Write a frame, all of it, however long the other side takes."""
    frame = memoryview(packed(kind, body))
    while frame:
        frame = frame[os.write(descriptor, frame) :]


class Frames:
    """Takes frames out of what comes through a pipe, and refuses those that no honest sender makes."""

    def __init__(self, kinds: frozenset[Kind], body_max: int) -> None:
        """Begin with nothing read.

        Args:
            kinds: what may come.
            body_max: bytes in a body.
        """
        self._kinds = kinds
        self._body_max = body_max
        self._read = bytearray()

    def feed(self, content: bytes) -> None:
        """Take what was read from the pipe."""
        self._read += content

    def next(self) -> tuple[Kind, bytes] | None:
        """Return the next frame; None: it is not whole yet.

        Raises:
            WireError: it may not be.
        """
        if len(self._read) < _HEADER.size:
            return None
        number, length = _HEADER.unpack_from(self._read)
        if number not in self._kinds:
            raise WireError(f"a frame of kind {number}, which may not come")
        if length > self._body_max:
            raise WireError(f"a frame of {length} bytes")
        end = _HEADER.size + length
        if len(self._read) < end:
            return None
        body = bytes(memoryview(self._read)[_HEADER.size : end])
        del self._read[:end]
        return Kind(number), body
