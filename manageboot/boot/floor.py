"""The floor: the highest index of a release that was confirmed on this node. Releases with a lower one are refused.

It lies in a file beside the history, which both slots reach, with the release that each slot holds. It only stops an
installation, so a fallback never asks for it. Who can write to the disk can remove it.
"""

import os
import re
from typing import Any, NamedTuple

from grubenv import Inside
from manageboot import errors
from manageboot.config import Config
from manageboot.protocol import Slot
from manageboot.system import files

FILE_NAME = "manageboot.floor"
SCHEMA = 1

_LIMIT_BYTES = 64 << 10
_NUMBER_MAX = (1 << 53) - 1


class Installed(NamedTuple):
    """The release that a slot holds."""

    version: str
    release_index: int
    min_index: int
    sha256: str
    """Of its release.json, in hexadecimal."""
    signed_by: tuple[str, ...]
    """The keys that signed for it, by their ids; none: its SHA-256 was pinned."""
    transaction: str
    """That of its installation, as the record has it."""


class Floor(NamedTuple):
    """What the file says."""

    release_index: int = 0
    """The highest index that was confirmed."""
    min_index: int = 0
    """The highest min_index that was confirmed: also who may go below the floor may not go below this."""
    slots: dict[Slot, Installed] = {}  # noqa: RUF012  nobody changes it


def path_of(config: Config) -> str | None:
    """Return where the file is; None: the disk of another system is worked on, which keeps its own."""
    if isinstance(config.boot.grubenv, Inside):
        return None
    history = config.state.history
    directory = config.boot.directory if history is None else os.path.dirname(os.path.realpath(history))
    return os.path.join(directory, FILE_NAME)


def load(config: Config) -> Floor:
    """Read the floor; where there is no file, nothing was confirmed yet. Takes no lock.

    Raises:
        FloorDamagedError: it says what no version of this schema would.
        DeviceError, NotPermittedError: it can't be read.
    """
    path = path_of(config)
    if path is None:
        return Floor()
    try:
        return _parse(files.parse(files.read(path, _LIMIT_BYTES)))
    except FileNotFoundError:
        return Floor()
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
    except ValueError as error:
        raise errors.FloorDamagedError(
            f"cannot read {path}: {error}",
            hint="upgrade-install --allow-downgrade takes a release all the same, and begins a new floor",
        ) from error


def note(config: Config, slot: Slot, installed: Installed | None, *, anew: bool = False) -> None:
    """Write down which release a slot holds; the caller holds the lock of the node.

    Args:
        config: the settings.
        slot: the slot.
        installed: its release; None: something else, or nothing whole.
        anew: whether a file that can't be read is replaced, so that the floor is 0.

    Raises:
        FloorDamagedError: the file can't be read, and that is not allowed.
        CreateError, DeviceError, NotPermittedError: it can't be written.

    Durability: once it returns, it survives a power cut; before, the old file is there or the new one.
    """
    try:
        known = load(config)
    except errors.FloorDamagedError:
        if not anew:
            # Without a release, the file is not this verb's to judge.
            if installed is None:
                return
            raise
        known = Floor()
        _store(config, known)
    slots = {**known.slots, slot: installed} if installed else {k: v for k, v in known.slots.items() if k != slot}
    if slots != known.slots:
        _store(config, known._replace(slots=slots))


def confirmed(config: Config, slot: Slot, transaction: str | None) -> None:
    """Raise the floor to the release that a confirmed slot holds; the caller holds the lock of the node.

    Args:
        config: the settings.
        slot: the slot that was confirmed.
        transaction: that of its installation; None: it is not known here.

    Raises:
        FloorDamagedError: the file can't be read.
        CreateError, DeviceError, NotPermittedError: it can't be written.

    Durability: once it returns, the floor survives a power cut; before, it is the old one or the new one.
    """
    known = load(config)
    raised = raised_by(known, slot, transaction)
    if raised != known:
        _store(config, raised)


def is_behind(config: Config, slot: Slot, transaction: str | None) -> bool:
    """Say whether the floor is lower than the release in a confirmed slot: whoever confirmed it was cut short.

    Raises:
        FloorDamagedError, DeviceError, NotPermittedError: as `load`.
    """
    known = load(config)
    return raised_by(known, slot, transaction) != known


def raised_by(known: Floor, slot: Slot, transaction: str | None) -> Floor:
    """Return the floor as the release of a slot raises it; one that is lower raises nothing."""
    release = known.slots.get(slot)
    # What was installed there since by who knows no releases has another transaction.
    if release is None or transaction not in {None, release.transaction}:
        return known
    return known._replace(
        release_index=max(known.release_index, release.release_index),
        min_index=max(known.min_index, release.min_index),
    )


def to_json(installed: Installed) -> dict[str, Any]:
    """Turn what is known of a release into what the file and `status --json` have."""
    values = installed._asdict()
    return {
        "version": values.pop("version"),
        "index": values.pop("release_index"),
        **values,
        "signed_by": list(installed.signed_by),
    }


def _store(config: Config, floor: Floor) -> None:
    import json

    path = path_of(config)
    if path is None:
        return
    slots = {slot.value: to_json(one) for slot, one in floor.slots.items()}
    whole = {"schema": SCHEMA, "index": floor.release_index, "min_index": floor.min_index, "slots": slots}
    try:
        files.replace(path, f"{json.dumps(whole, indent=1)}\n".encode(), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def _parse(stored: Any) -> Floor:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
        raise ValueError(f"it has no schema {SCHEMA}")
    slots = stored.get("slots")
    if not isinstance(slots, dict) or not all(isinstance(one, dict) for one in slots.values()):
        raise ValueError("it does not say what the slots hold")
    return Floor(
        _number(stored, "index"),
        _number(stored, "min_index"),
        {Slot(name): _installed(values) for name, values in slots.items()},
    )


def _installed(values: dict[str, Any]) -> Installed:
    keys = values.get("signed_by")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("signed_by is not a list of words")
    return Installed(
        version=_word(values, "version", ".{1,64}"),
        release_index=_number(values, "index"),
        min_index=_number(values, "min_index"),
        sha256=_word(values, "sha256", "[0-9a-f]{64}"),
        signed_by=tuple(keys),
        transaction=_word(values, "transaction", "[0-9a-f]{1,64}"),
    )


def _number(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    if type(value) is not int or not 0 <= value <= _NUMBER_MAX:
        raise ValueError(f"{key} is not a number from 0 to {_NUMBER_MAX}")
    return value


def _word(values: dict[str, Any], key: str, pattern: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"{key} does not match {pattern}")
    return value
