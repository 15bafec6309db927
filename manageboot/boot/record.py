"""The record: what is in each slot, and how it came there. It survives power cuts.

One JSON file holds both slots, because a confirm changes both at once. The block says what GRUB does; the record says
what may be asked of it: only a slot that it calls installed is ever committed, only a confirmed one gone back to.
"""

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.protocol import Content, Slot
from manageboot.system import console, files

FILE_NAME = "record.json"
SCHEMA = 1

_LIMIT_BYTES = 1 << 20
_SHOWN_CHARACTERS = 60


class ImageRecord(NamedTuple):
    """One image as it was written: sizes in bytes, and its digest as `digest` defines it."""

    size: int
    data_size: int
    digest: str
    sample: Mapping[int, str] = MappingProxyType({})
    """The SHA-256 of some windows with data, by their offset; none in a record of a version that kept none."""


class SlotRecord(NamedTuple):
    """What is known of one slot. Times are UTC in ISO 8601; what is not known is None."""

    content: Content
    version: str | None = None
    transaction: str | None = None
    source: str | None = None
    source_sha256: str | None = None
    images: Mapping[str, ImageRecord] | None = None
    """What was written, by role."""
    started: str | None = None
    installed: str | None = None
    committed: str | None = None
    confirmed: str | None = None
    failure: str | None = None
    nonce: str | None = None
    """That of the commit, or the rollback, which this slot waits for or is tried by. Of a slot that was installed and
    not committed since, the one that the block had then: what the block tells of that commit is no longer reported."""
    committed_in: str | None = None
    """The boot that it was committed or rolled back to in, as the kernel names it; None once that is over."""

    @property
    def is_begun(self) -> bool:
        """Whether an installation was begun and did not finish, so that the slot may hold a part of its source."""
        return self.content is Content.INSTALLING or (self.content is Content.VOID and self.failure is not None)


Records = Mapping[Slot, SlotRecord]


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def armed(record: SlotRecord, nonce: str, boot_id: str | None) -> SlotRecord:
    """Note which commit, or rollback, a slot waits for, or is tried by.

    Args:
        record: that of the slot.
        nonce: that of the commit, as it is in the block; empty: it has none.
        boot_id: the boot that it was asked for in.
    """
    return record._replace(nonce=nonce or None, committed_in=boot_id)


def disarmed(record: SlotRecord) -> SlotRecord:
    """Forget what `armed` noted of a commit or rollback: it was confirmed, or taken back."""
    return record._replace(nonce=None, committed_in=None)


def content(records: Records, slot: Slot) -> Content:
    """Say what a slot holds; a slot without a record counts as void."""
    return records[slot].content if slot in records else Content.VOID


def load(directory: str) -> dict[Slot, SlotRecord]:
    """Read the records; a slot that was never written has none.

    Raises:
        DeviceError, NotPermittedError: the file can't be read.
        DataError: it is damaged.
    """
    path = os.path.join(directory, FILE_NAME)
    try:
        return _parse(files.parse(files.read(path, _LIMIT_BYTES)))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}") from error
    except ValueError as error:
        raise errors.RecordDamagedError(
            f"cannot read {path}: {error}",
            hint="upgrade-install writes a new one; without one nothing can be committed",
        ) from error


def store(directory: str, records: Records) -> None:
    """Replace the records.

    Raises:
        CreateError, DeviceError, NotPermittedError: they can't be written. The old ones are still there, unless it was
            the last flush, of the directory, that failed.
        ReadBackError: the disk does not hold what was written; the old records are still there.

    Durability: once it returns, the new records survive a power cut, and were read back past the page cache; before,
    either the old or the new ones do.
    """
    path = os.path.join(directory, FILE_NAME)
    slots = {slot.value: to_json(records[slot]) for slot in records}
    if console.debug:
        console.debug("record: %s is to say %s", path, describe(records))
    text = json.dumps({"schema": SCHEMA, "slots": slots, "samples": _samples(records)}, indent=1)
    try:
        _make_directory(directory)
        # Queries need no root, and nobody else may write.
        files.replace(path, f"{text}\n".encode(), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def describe(records: Records) -> str:
    """Say in words what is in the slots."""
    return ", ".join(f"slot {slot} {records[slot].content}" for slot in sorted(records)) or "no slot"


def to_json(record: SlotRecord) -> dict[str, Any]:
    """Turn a record into what its file and `status --json` show."""
    values = {key: value for key, value in record._asdict().items() if value is not None}
    values["state"] = values.pop("content").value
    images = values.pop("images", {})
    return values | {role: {key: getattr(image, key) for key in _IMAGE_KEYS} for role, image in images.items()}


_IMAGE_KEYS = ("size", "data_size", "digest")
"""What an entry has of an image. Samples stand beside the entries: a version without them refuses an entry with more,
and leaves out what is beside it when it writes."""


def _samples(records: Records) -> dict[str, dict[str, dict[int, str]]]:
    return {
        slot.value: {role: dict(image.sample) for role, image in (entry.images or {}).items()}
        for slot, entry in records.items()
        if entry.images
    }


def _with_sample(entry: SlotRecord, sample: dict[str, Any]) -> SlotRecord:
    """Put its samples to each image of an entry."""
    images = dict(entry.images or {})
    for role in images.keys() & sample.keys():
        windows: dict[int, str] = {}
        for offset, digest in _mapping(f"a sample of {role}", sample[role]).items():
            is_digest = isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest)
            if not (re.fullmatch("[0-9]{1,18}", offset) and int(offset) < images[role].size and is_digest):
                raise ValueError(f"a sample of {role} is {_short(digest)} at {_short(offset)}")
            windows[int(offset)] = digest
        images[role] = images[role]._replace(sample=windows)
    return entry._replace(images=images or None)


def _parse(stored: Any) -> dict[Slot, SlotRecord]:
    """Take the file apart. Raises ValueError where it says what no version of this schema would."""
    if not isinstance(stored, dict) or "schema" not in stored:
        raise ValueError("it has no schema")
    if type(stored["schema"]) is not int or stored["schema"] != SCHEMA:
        raise ValueError(f"its schema is {_short(stored['schema'])}, not {SCHEMA}")
    slots = stored.get("slots")
    if type(slots) is not dict:
        raise ValueError(f"its slots are {_short(slots)}")
    records = {Slot(name): _from_json(values) for name, values in slots.items()}
    samples = _mapping("samples", stored.get("samples", {}))
    return {
        slot: _with_sample(entry, _mapping("samples", samples.get(slot.value, {}))) for slot, entry in records.items()
    }


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError(f"{name} is {_short(value)}")
    return value


def _from_json(values: Any) -> SlotRecord:
    if not isinstance(values, dict) or "state" not in values:
        raise ValueError(f"a slot is {_short(values)}")
    images = {key: _image(key, value) for key, value in values.items() if isinstance(value, dict)}
    fields = {key: value for key, value in values.items() if key != "state" and key not in images}
    for key, value in fields.items():
        if not isinstance(value, str) or key not in SlotRecord._fields or key in {"content", "images"}:
            raise ValueError(f"{_short(key)} is {_short(value)}")
    if type(values["state"]) is not str:
        raise ValueError(f"the state is {_short(values['state'])}")
    return SlotRecord(content=Content(values["state"]), images=images or None, **fields)


def _image(role: str, value: dict[str, Any]) -> ImageRecord:
    is_one = value.keys() == set(_IMAGE_KEYS) and all(
        isinstance(part, str) if key == "digest" else type(part) is int and part >= 0 for key, part in value.items()
    )
    if not is_one:
        raise ValueError(f"{_short(role)} is {_short(value)}")
    return ImageRecord(**value)


def _short(value: object) -> str:
    """Show a value that may be of any length."""
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."


def _make_directory(directory: str) -> None:
    if os.path.isdir(directory):
        return
    parent = os.path.dirname(directory.rstrip("/"))
    _make_directory(parent)
    os.mkdir(directory)
    os.chmod(directory, 0o755)
    files.flush_directory(parent)
