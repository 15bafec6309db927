"""A TOML file, whatever is in it and whatever it is: read in bounded time and memory, or refused in one sentence."""

import os
import re
import stat
import tomllib
from typing import Any

from manageboot import errors

_MOST_BYTES = 64 << 10
_MOST_DOTS = 500
"""In one line. A configuration has a few."""

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a pipe, not a regular file",
    stat.S_IFCHR: "a device, not a regular file",
    stat.S_IFBLK: "a device, not a regular file",
}
_OTHER = "no regular file"

_NULL = os.makedev(1, 3)
"""/dev/null. Source: Documentation/admin-guide/devices.txt of Linux."""


def read(path: str) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: it is not there, no regular file, too large, or no TOML.
        NotPermittedError, DeviceError: it can't be read.
    """
    try:
        # Without waiting for whoever might write into a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            kind = stat.S_IFMT(status.st_mode)
            # Whoever names /dev/null wants no settings of the node, only those of a profile.
            if kind != stat.S_IFREG and not (kind == stat.S_IFCHR and status.st_rdev == _NULL):
                raise errors.ConfigError(f"cannot read {path}: it is {_KINDS.get(kind, _OTHER)}")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.ConfigError) from error
    if len(data) > _MOST_BYTES:
        raise errors.ConfigError(f"cannot read {path}: it has more than {_MOST_BYTES} bytes")
    try:
        # Some editors put a byte order mark before the text.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.ConfigError(f"cannot read {path}: byte {error.start} is not UTF-8") from error
    return _parse(path, text)


def _parse(path: str, text: str) -> dict[str, Any]:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        # The time that a dotted key takes grows with the square of its parts.
        if line.count(".") > _MOST_DOTS:
            raise errors.ConfigError(f"cannot read {path}: line {number} has more than {_MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.ConfigError(f"cannot read {path}: {error}") from error
    except RecursionError as error:
        raise errors.ConfigError(f"cannot read {path}: it is nested too deeply") from error
    except ValueError as error:  # Python's limit for the digits of a number
        number, line = max(enumerate(lines, 1), key=lambda numbered: len(re.sub("[^0-9]", "", numbered[1])))
        raise errors.ConfigError(
            f"cannot read {path}: line {number} has a number with too many digits: {line[:40]}..."
        ) from error
