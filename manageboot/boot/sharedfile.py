"""The small files that both slots share: JSON beside the history, read as if anybody had written it.

Each is replaced as a whole. Durability: once `store` returns, the new one survives a power cut; before, the old one is
there or the new one.
"""

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar

from grubenv import Inside
from manageboot import errors
from manageboot.config import Config
from manageboot.system import files

NUMBER_MAX = (1 << 53) - 1

_T = TypeVar("_T")


def path_of(config: Config, name: str) -> str | None:
    """Return where a file is; None: the disk of another system is worked on, which keeps its own."""
    if isinstance(config.boot.grubenv, Inside):
        return None
    history = config.state.history
    directory = config.boot.directory if history is None else os.path.dirname(os.path.realpath(history))
    return os.path.join(directory, name)


def load(
    config: Config,
    name: str,
    limit_bytes: int,
    parse: Callable[[bytes], _T],
    damaged: Callable[[str], errors.ManagebootError],
) -> _T | None:
    """Read a file; None: there is none. Takes no lock.

    Args:
        config: the settings.
        name: of the file.
        limit_bytes: a longer one is damaged.
        parse: takes it apart, and raises ValueError where it says what no version of its schema would.
        damaged: makes the error that is raised then, of its message.

    Raises:
        DeviceError, NotPermittedError: it can't be read.
    """
    path = path_of(config, name)
    if path is None:
        return None
    try:
        return parse(files.read(path, limit_bytes))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
    except ValueError as error:
        raise damaged(f"cannot read {path}: {error}") from error


def store(config: Config, name: str, whole: dict[str, Any]) -> None:
    """Replace a file.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.
    """
    import json

    path = path_of(config, name)
    if path is None:
        return
    try:
        files.replace(path, f"{json.dumps(whole, indent=1)}\n".encode(), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def parse(content: bytes, schema: int) -> dict[str, Any]:
    """Parse a file of a schema. Raises ValueError where it is of none, or of another."""
    stored = files.parse(content)
    if not isinstance(stored, dict) or stored.get("schema") != schema:
        raise ValueError(f"it has no schema {schema}")
    return stored


def number(values: dict[str, Any], key: str) -> int:
    """Take a whole number out of JSON. Raises ValueError where there is none that can be meant."""
    value = values.get(key)
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise ValueError(f"{key} is not a number from 0 to {NUMBER_MAX}")
    return value


def word(values: dict[str, Any], key: str, pattern: str) -> str:
    """Take a text out of JSON. Raises ValueError where there is none that matches."""
    value = values.get(key)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{key} does not match {pattern}")
    return value


def words(values: dict[str, Any], key: str) -> tuple[str, ...]:
    """Take a list of texts out of JSON. Raises ValueError where there is none."""
    found = values.get(key)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{key} is not a list of words")
    return tuple(found)
