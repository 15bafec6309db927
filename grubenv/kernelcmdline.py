"""What the kernel was started with, which tells the slot when the block no longer does: read as the kernel reads it.

Everything that reads a kernel command line, here and in programs that use this library, does so with this module.
"""

from __future__ import annotations

import errno
import os

from grubenv.errors import ContradictionError, from_os_error
from grubenv.view import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = "/proc/cmdline"

_SPACES = b"\t\n\v\f\r \xa0"
"""The kernel's isspace, which is of Latin-1; so it ends a word inside some UTF-8 characters too."""
_QUOTE, _EQUALS = b'"='
_FOR_INIT = b"--"
_MOST_BYTES = 1024 * 1024
"""Far beyond what any kernel takes."""


def read_value(path: str, key: str) -> str | None:
    """Return what the kernel command line in the file says of a key; None: nothing. The file may be a pipe.

    Raises:
        ContradictionError: it says two different things.
        AbsentError, NotPermittedError, StorageError: the file can't be read.
    """
    try:
        found = values(read_line(path, wait=True), key)
    except OSError as exc:
        raise from_os_error(exc, "read", path) from exc
    if len(found) > 1:
        said = " and ".join(f"{key}={value}" for value in found)
        raise ContradictionError(f"it has {said}", path=path)
    return found[0] if found else None


def read_line(path: str = DEFAULT_PATH, *, wait: bool = False) -> bytes:
    """Return the kernel command line in the file, without the newline that /proc puts at its end.

    Args:
        wait: whether to wait for what somebody writes to a pipe; else there is nothing in one.

    Raises:
        OSError: the file can't be read, or goes on and on, as a device may.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (0 if wait else os.O_NONBLOCK)
    with open(os.open(path, flags), "rb") as file:
        line = file.read(_MOST_BYTES + 1) or b""
    if len(line) > _MOST_BYTES:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return line.removesuffix(b"\n")


def values(line: bytes, key: str) -> list[str]:
    """Return the different values that a kernel command line gives to a key, sorted; bytes that are not UTF-8 escaped.

    A key without `=` has no value. Upper and lower case differ, and so do `-` and `_`, which are the same to the kernel
    in names of its own alone.

    >>> values(b'slot=B x="cut off slot=A', "slot")
    ['B']
    """
    return sorted({text(value) for name, value in parameters(line) if value is not None and text(name) == key})


def parameters(line: bytes) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the parameters of a kernel command line with their values, up to `--`, behind which all is for init.

    Spaces between quotation marks, wherever in a word these stand, do not end it; a quotation mark that is never closed
    holds all that follows. Only those around a whole value, or a whole word, are taken off.

    Source: Linux lib/cmdline.c, next_arg, and kernel/params.c, parse_args.

    >>> list(parameters(b'ro root=/dev/vda5 "note=a b" more="c d" -- slot=A'))
    [(b'ro', None), (b'root', b'/dev/vda5'), (b'note', b'a b'), (b'more', b'c d')]
    """
    position = 0
    while True:
        while position < len(line) and line[position] in _SPACES:
            position += 1
        if position == len(line):
            return
        start = position
        quoted = False
        while position < len(line) and (quoted or line[position] not in _SPACES):
            quoted ^= line[position] == _QUOTE
            position += 1
        parameter = _split(line[start:position])
        if parameter == (_FOR_INIT, None):
            return
        yield parameter


def _split(word: bytes) -> tuple[bytes, bytes | None]:
    """Split a word at its first `=`, which is never its first character, and take off the quotation marks around."""
    if whole := word.startswith(b'"'):
        word = word[1:]
    equals = word.find(_EQUALS, 1)
    if equals < 0:
        return (word.removesuffix(b'"') if whole else word), None
    name, value = word[:equals], word[equals + 1 :]
    if value.startswith(b'"'):
        value = value[1:].removesuffix(b'"')
    elif whole:
        value = value.removesuffix(b'"')
    return name, value
