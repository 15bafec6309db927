"""The floor: the highest index of a release that was confirmed on this node. Releases with a lower one are refused.

It lies in a file beside the history, which both slots reach, with the release that each slot holds. It only stops an
installation, so a fallback never asks for it. Who can write to the disk can remove it.
"""

from typing import Any, NamedTuple

from manageboot import errors
from manageboot.boot import sharedfile
from manageboot.boot.sharedfile import number, word, words
from manageboot.config import Config
from manageboot.protocol import Slot

FILE_NAME = "manageboot.floor"
SCHEMA = 1

_LIMIT_BYTES = 64 << 10


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


def load(config: Config) -> Floor:
    """Read the floor; where there is no file, nothing was confirmed yet. Takes no lock.

    Raises:
        FloorDamagedError: it says what no version of this schema would.
        DeviceError, NotPermittedError: it can't be read.
    """
    return sharedfile.load(config, FILE_NAME, _LIMIT_BYTES, parse, _damaged) or Floor()


def note(
    config: Config, slot: Slot, installed: Installed | None, *, anew: bool = False, rehearse: bool = False
) -> None:
    """Write down which release a slot holds; the caller holds the lock of the node.

    Args:
        config: the settings.
        slot: the slot.
        installed: its release; None: something else, or nothing whole.
        anew: whether a file that can't be read is replaced, so that the floor is 0.
        rehearse: whether to write what is known already, so that it is known now if a release can't be noted later.

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
    if slots != known.slots or rehearse:
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


def parse(content: bytes) -> Floor:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    stored = sharedfile.parse(content, SCHEMA)
    slots = stored.get("slots")
    if not isinstance(slots, dict) or not all(isinstance(one, dict) for one in slots.values()):
        raise ValueError("it does not say what the slots hold")
    return Floor(
        number(stored, "index"),
        number(stored, "min_index"),
        {Slot(name): _installed(values) for name, values in slots.items()},
    )


def _store(config: Config, floor: Floor) -> None:
    slots = {slot.value: to_json(one) for slot, one in floor.slots.items()}
    whole = {"schema": SCHEMA, "index": floor.release_index, "min_index": floor.min_index, "slots": slots}
    sharedfile.store(config, FILE_NAME, whole)


def _damaged(message: str) -> errors.ManagebootError:
    hint = "upgrade-install --allow-downgrade takes a release all the same, and begins a new floor"
    return errors.FloorDamagedError(message, hint=hint)


def _installed(values: dict[str, Any]) -> Installed:
    return Installed(
        version=word(values, "version", ".{1,64}"),
        release_index=number(values, "index"),
        min_index=number(values, "min_index"),
        sha256=word(values, "sha256", "[0-9a-f]{64}"),
        signed_by=words(values, "signed_by"),
        transaction=word(values, "transaction", "[0-9a-f]{1,64}"),
    )
