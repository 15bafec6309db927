"""A TOML file, whatever is in it and whatever it is: read in bounded time and memory, or refused in one sentence.

Each key of its tables is taken once, with what its value has to be, and what nobody takes is an error.

Paths and words of commands are bytes to the kernel. In the file they are UTF-8, and so they are to the kernel, whatever
the locale of the process calls the encoding of files.
"""

import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

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
_OTHER = "not a regular file"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NULL = os.makedev(1, 3)
"""/dev/null. Source: Documentation/admin-guide/devices.txt of Linux."""

_SIZE_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION_UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}

_LONGEST = "36500d"
"""A hundred years: in practice never, and every clock can count it."""
_LONGEST_S = 36500 * 86400
_LARGEST_BYTES = (1 << 63) - 1
"""What a file can have."""

_LONGEST_PATH_BYTES = 4095
"""Source: PATH_MAX in linux/limits.h, less the NUL."""

_SHOWN_CHARACTERS = 60

_PATH = "(?s:/.*)"

_T = TypeVar("_T")


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
    except FileNotFoundError as error:
        hint = f"`manageboot init --write-config {path}` writes one, if this machine has slots"
        raise errors.ConfigError(f"cannot read {path}: there is no such file", hint=hint) from error
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.ConfigError) from error
    if len(data) > _MOST_BYTES:
        raise errors.ConfigError(f"cannot read {path}: it has more than {_MOST_BYTES} bytes")
    return parse(path, data)


def parse(path: str, data: bytes) -> dict[str, Any]:
    """Read the content of a TOML file.

    Args:
        path: for messages.
        data: what it holds.

    Raises:
        ConfigError: it is no TOML.
    """
    try:
        # Some editors put a byte order mark before the text.
        text = data.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise errors.ConfigError(f"cannot read {path}: byte {error.start} is not UTF-8") from error
    return _parse(path, text)


class Table:
    """One table; all that takes from it raises ConfigError for a value that is missing or something else."""

    def __init__(self, values: object, name: str, source: str) -> None:
        """Begin with all keys.

        Args:
            values: what was read; anything but a dict is refused.
            name: how the table is called, such as "slots.A"; empty for the topmost one.
            source: where it was read, for the message.
        """
        self.name = name
        self.source = source
        if not isinstance(values, dict):
            raise self._error("", values, "a table")
        self._values = dict(values)

    def has(self, key: str) -> bool:
        """Return whether there is such a key, not taken yet."""
        return key in self._values

    def take(self, key: str, kind: type[_T], meaning: str) -> _T:
        """Take a value of a kind (an int is no bool, and the reverse); no string has a NUL in it."""
        value = self._values.pop(key, None)
        has_nul = isinstance(value, str) and "\0" in value
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool) or has_nul:
            raise self._error(key, value, meaning)
        return value

    def table(self, key: str) -> "Table":
        """Take a table; one that is not there is empty."""
        return Table(self._values.pop(key, {}), self._full(key), self.source)

    def strings(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, as they are given to a program."""
        values = self.take(key, list, "a list of strings")
        if not all(isinstance(value, str) and "\0" not in value for value in values):
            raise self._error(key, values, "a list of strings")
        return tuple(_to_the_kernel(value) for value in values)

    def switch(self, key: str, choices: Sequence[str]) -> bool | tuple[str, ...]:
        """Take a switch for all: true or false; or a list of those for which it is on."""
        meaning = f"true, false or a list of {', '.join(choices)}"
        if not isinstance(self._values.get(key), list):
            return self.take(key, bool, meaning)
        names = self.names(key)
        if not names or not set(names) <= set(choices):
            raise self._error(key, list(names), meaning)
        return names

    def names(self, key: str) -> tuple[str, ...]:
        """Take a list of strings, none of them empty."""
        values = self.strings(key)
        if "" in values:
            raise self._error(key, list(values), "a list of names")
        return values

    def path(self, key: str) -> str:
        """Take an absolute path."""
        return self.matching(key, _PATH, "an absolute path")

    def matching(self, key: str, pattern: str, meaning: str) -> str:
        """Take a string that matches as a whole; one that is a path is as the kernel takes it."""
        value = self.take(key, str, meaning)
        if not re.fullmatch(pattern, value):
            raise self._error(key, value, meaning)
        if not value.startswith("/"):
            return value
        path = _to_the_kernel(value)
        if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
            raise self._error(key, value, f"a path of at most {_LONGEST_PATH_BYTES} bytes")
        return path

    def choice(self, key: str, choices: Sequence[_T], kind: type[_T]) -> _T:
        """Take one of some values, all of one kind."""
        meaning = " or ".join(repr(choice) for choice in choices)
        value = self.take(key, kind, meaning)
        if value not in choices:
            raise self._error(key, value, meaning)
        return value

    def number(self, key: str, low: int, high: int) -> int:
        """Take a number from low to high."""
        value = self.take(key, int, f"a number from {low} to {high}")
        if not low <= value <= high:
            raise self._error(key, value, f"a number from {low} to {high}")
        return value

    def size(self, key: str) -> int:
        """Take a size; return it in bytes."""
        return self._quantity(key, _SIZE_UNITS, "16MiB", _LARGEST_BYTES, "8 EiB less one byte")

    def duration(self, key: str) -> int:
        """Take a time span; return it in seconds."""
        return self._quantity(key, _DURATION_UNITS, "15min", _LONGEST_S, _LONGEST)

    def finish(self) -> None:
        """Refuse what nobody took."""
        for key in self._values:
            raise errors.ConfigError(f"cannot use {self.source}: unknown key {self._full(key)}")

    def _quantity(self, key: str, units: Mapping[str, int], example: str, most: int, called: str) -> int:
        meaning = f"a value such as {example!r}"
        value = self.take(key, object, meaning)
        text = value if isinstance(value, str) else _shown(value)
        match = re.fullmatch("([0-9]{1,15}) ?([A-Za-z]*)", text)
        if match is None or match[2] not in units:
            raise self._error(key, value, meaning)
        quantity = int(match[1]) * units[match[2]]
        if quantity > most:
            raise self._error(key, value, f"at most {called}")
        return quantity

    def _full(self, key: str) -> str:
        return ".".join(part for part in (self.name, key) if part)

    def _error(self, key: str, value: object, meaning: str) -> errors.ConfigError:
        found = "it is missing" if value is None else f"it is {_shown(value)}"
        return errors.ConfigError(f"cannot use {self.source}: {self._full(key)} has to be {meaning}, and {found}")


def _to_the_kernel(value: str) -> str:
    """Return a string that Python gives to the kernel as UTF-8."""
    return os.fsdecode(value.encode())


def _shown(value: object) -> str:
    """Write a value for a message, however large it is, or deeply nested."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return "nested too deeply" if isinstance(value, (dict, list)) else "a number with too many digits"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


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
