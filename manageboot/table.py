"""A table of a TOML file: each key is taken once, with what its value has to be, and what nobody takes is an error."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from manageboot import errors

_SIZE_UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_DURATION_UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400}

_T = TypeVar("_T")


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
        """Take a value of a kind (an int is no bool, and the reverse)."""
        value = self._values.pop(key, None)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self._error(key, value, meaning)
        return value

    def table(self, key: str) -> "Table":
        """Take a table; one that is not there is empty."""
        return Table(self._values.pop(key, {}), self._full(key), self.source)

    def strings(self, key: str) -> tuple[str, ...]:
        """Take a list of strings."""
        values = self.take(key, list, "a list of strings")
        if not all(isinstance(value, str) for value in values):
            raise self._error(key, values, "a list of strings")
        return tuple(values)

    def path(self, key: str) -> str:
        """Take an absolute path."""
        value = self.take(key, str, "an absolute path")
        if not value.startswith("/") or "\0" in value:
            raise self._error(key, value, "an absolute path")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], meaning: str) -> str:
        """Take a string that matches as a whole."""
        value = self.take(key, str, meaning)
        if not pattern.fullmatch(value):
            raise self._error(key, value, meaning)
        return value

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
        return self._quantity(key, _SIZE_UNITS, "16MiB")

    def duration(self, key: str) -> int:
        """Take a time span; return it in seconds."""
        return self._quantity(key, _DURATION_UNITS, "15min")

    def finish(self) -> None:
        """Refuse what nobody took."""
        for key in self._values:
            raise errors.ConfigError(f"cannot use {self.source}: unknown key {self._full(key)}")

    def _quantity(self, key: str, units: Mapping[str, int], example: str) -> int:
        meaning = f"a value such as {example!r}"
        value = self.take(key, object, meaning)
        match = re.fullmatch(r"(\d{1,15}) ?([A-Za-z]*)", str(value)) if not isinstance(value, bool) else None
        if match is None or match[2] not in units:
            raise self._error(key, value, meaning)
        return int(match[1]) * units[match[2]]

    def _full(self, key: str) -> str:
        return ".".join(part for part in (self.name, key) if part)

    def _error(self, key: str, value: object, meaning: str) -> errors.ConfigError:
        found = "it is missing" if value is None else f"it is {value!r}"
        return errors.ConfigError(f"cannot use {self.source}: {self._full(key)} has to be {meaning}, and {found}")
