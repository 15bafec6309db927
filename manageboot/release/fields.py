"""An object of JSON, field by field: each of its type and within its limits, and none that nobody asked for."""

import re
from typing import Any, Self

from manageboot import errors
from manageboot.system import files


class Fields:
    """The fields of an object that are still to be read."""

    def __init__(self, values: dict[str, Any], name: str, where: str = "") -> None:
        self._values = dict(values)
        self._name = name
        self._where = where

    @classmethod
    def of(cls, content: bytes, name: str) -> Self:
        """Parse a whole file, which messages call by a name.

        Raises:
            ReleaseFormatError: it is not an object of JSON, or a key is there twice.
        """
        try:
            values = files.parse(content)
        except ValueError as error:
            raise errors.ReleaseFormatError(f"cannot read {name}: it is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise errors.ReleaseFormatError(f"cannot read {name}: it is not an object of JSON")
        return cls(values, name)

    def error(self, cause: str) -> errors.ReleaseFormatError:
        """Make the error that says what is wrong, and where."""
        where = f"in {self._where}, " if self._where else ""
        return errors.ReleaseFormatError(f"cannot read {self._name}: {where}{cause}")

    def has(self, key: str) -> bool:
        """Say whether there is a field that was not read yet."""
        return key in self._values

    def number(self, key: str, least: int, most: int, *, default: int | None = None) -> int:
        """Take an integer; without a default it has to be there.

        Raises:
            ReleaseFormatError: it is missing, something else, or outside its limits.
        """
        if default is not None and key not in self._values:
            return default
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.error(f"{key} is not an integer from {least} to {most}")
        return value

    def word(self, key: str, pattern: re.Pattern[str]) -> str:
        """Take a string that a pattern matches as a whole.

        Raises:
            ReleaseFormatError: it is missing, something else, or does not match.
        """
        return self._word(self._take(key), key, pattern)

    def words(self, key: str, pattern: re.Pattern[str], most: int) -> tuple[str, ...]:
        """Take a list of different strings, one at least, each of which a pattern matches.

        Raises:
            ReleaseFormatError: it is missing, something else, empty or too long.
        """
        found = tuple(self._word(value, key, pattern) for value in self._list(key, most))
        if len(set(found)) < len(found):
            raise self.error(f"{key} has an entry twice")
        return found

    def inner(self, key: str) -> "Fields":
        """Take an object.

        Raises:
            ReleaseFormatError: it is missing, or something else.
        """
        return self._object(self._take(key), key)

    def inners(self, key: str, most: int) -> "list[Fields]":
        """Take a list of objects, one at least.

        Raises:
            ReleaseFormatError: it is missing, something else, empty or too long.
        """
        return [self._object(value, f"{key}[{at}]") for at, value in enumerate(self._list(key, most))]

    def end(self, *, later: bool) -> None:
        """Say that all that is known was read; of a later version there may be more.

        Raises:
            ReleaseFormatError: there is more, and nothing says that there may be.
        """
        if self._values and not later:
            raise self.error(f"{min(self._values)!r} is not known")

    def _take(self, key: str) -> Any:
        if key not in self._values:
            raise self.error(f"{key} is missing")
        return self._values.pop(key)

    def _word(self, value: object, key: str, pattern: re.Pattern[str]) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise self.error(f"{key} does not match {pattern.pattern}")
        return value

    def _list(self, key: str, most: int) -> list[Any]:
        value = self._take(key)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise self.error(f"{key} is not a list of 1 to {most}")
        return value

    def _object(self, value: object, where: str) -> "Fields":
        if not isinstance(value, dict):
            raise self.error(f"{where} is not an object")
        return Fields(value, self._name, f"{self._where}.{where}" if self._where else where)
