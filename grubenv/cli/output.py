"""The standard streams: results on stdout, all else on stderr, each message one line.

A result that nobody reads is an error. A message that nobody reads is not: what was done is done.
"""

from __future__ import annotations

import os
import sys

from grubenv.errors import StorageError, reason


class NobodyReadsError(Exception):
    """The reader of the pipe went away, which needs no message."""


def answer(data: bytes) -> None:
    """Print a result on stdout.

    Raises:
        NobodyReadsError: stdout is a pipe without a reader.
        StorageError: stdout is closed, or full.
    """
    if sys.stdout is None:
        raise StorageError("standard output is closed", verb="write", path="the result")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as exc:
        _open_null(1)  # or else what is still buffered fails a second time at exit
        if isinstance(exc, BrokenPipeError):
            raise NobodyReadsError from exc
        raise StorageError(reason(exc), verb="write", path="the result") from exc


def say(message: str) -> None:
    """Print a message on stderr, if anybody reads it."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"{printable(message)}\n")
        sys.stderr.flush()
    except OSError:
        _open_null(2)


def printable(message: str) -> str:
    """Make one line of a message, whatever is in it."""
    return "".join(map(_byte, visible(message)))


def visible(line: str) -> str:
    r"""Write control characters, which may come with a file name or out of a block, as \xNN."""
    return "".join(f"\\x{ord(char):02x}" if char < " " or "\x7f" <= char <= "\x9f" else char for char in line)


def _byte(char: str) -> str:
    """Write a byte that is not UTF-8 as \\xNN."""
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char


def open_standard_files() -> None:
    """Open /dev/null where stdin, stdout or stderr is closed; else the block would be opened there."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_null(descriptor)


def _open_null(descriptor: int) -> None:
    try:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
    except OSError:
        pass  # there is no /dev
