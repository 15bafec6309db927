"""The history: the last events of this node, in one file that both slots can read.

By default it lies beside the environment block, on the file system that GRUB reads, because that is what the slots of
guestOS and hostOS share. The file is a ring of records of 512 bytes, a sector each, and each is a line of text with a
checksum. It is made once, whole; after that records are only overwritten in place. So a write that is torn or lost
costs one record, and never a change of the directory's or the file's size.
"""

import errno
import json
import os
import stat
import zlib
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.config import Config
from manageboot.system import console, files
from manageboot.system.text import joined, one_line

FILE_NAME = "manageboot.log"
SCHEMA = 1
RECORD_BYTES = 512
RECORD_COUNT = 128

_READ_LIMIT_BYTES = 1 << 20
"""A file that is longer is none of ours, and is not read to its end."""
_CHECKSUM_BYTES = len("01234567 ")
_WORDS = ("boot", "event", "version", "transaction", "cause", "commit")
_WORD_BYTES = 44
"""The most that JSON takes for one of these: a version of IC-OS is 40 digits. The message gets the rest."""
_CUT = "..."
_KINDS: dict[str, tuple[type, ...]] = {"seconds": (int, float), "written_bytes": (int,), "sequence": (int,)}
"""Of the fields that are no text."""
_NUMBER_LIMIT = 1 << 53


class Entry(NamedTuple):
    """One event. What is not known is None."""

    time: str
    """UTC in ISO 8601, as the clock was; only the sequence number tells the order."""
    event: str
    """The name of the event; a newer version in the other slot may know more of them."""
    slot: str
    message: str
    boot: str | None = None
    """The boot that it happened in, as the kernel names it."""
    version: str | None = None
    transaction: str | None = None
    cause: str | None = None
    commit: str | None = None
    """Of a fallback: what tells the commit from others."""
    seconds: float | None = None
    """Of an installation: how long it took; of a confirm: since the boot."""
    written_bytes: int | None = None
    """Of an installation: what went to the devices."""
    sequence: int = 0
    """The place in the order of all events; given when it is written."""


class History(NamedTuple):
    """What the file holds."""

    entries: list[Entry]
    """The oldest first."""
    damaged: int
    """How many records could not be read."""


def path_of(config: Config) -> str:
    """Return where the history is: as configured, links followed, or else beside the environment block."""
    if config.state.history is not None:
        return os.path.realpath(config.state.history)
    return os.path.join(config.boot.directory, FILE_NAME)


def read(config: Config) -> History:
    """Read the history; where there is no file, nothing has happened yet. Writes nothing and takes no lock.

    Raises:
        InputError, DeviceError, NotPermittedError: the file is there and can't be read.
    """
    path = path_of(config)
    found = parse(_content(path) or b"")
    # A record that is being written this very moment is whole at the second look.
    return parse(_content(path) or b"") if found.damaged else found


def last(config: Config, count: int) -> list[Entry]:
    """Read the last events, the oldest of them first, and no others: `status` is asked often.

    Raises:
        InputError, DeviceError, NotPermittedError: the file is there and can't be read.
    """
    content = _content(path_of(config)) or b""
    newest = _newest(content, count)
    # A record that is damaged, or being written this very moment, may be one of them.
    return read(config).entries[-count:] if newest is None else newest


def append(config: Config, entry: Entry) -> list[Entry]:
    """Write an event over the oldest one. The caller holds the lock of the history.

    Returns:
        All events that the history has now.

    Raises:
        CreateError, DeviceError, InputError, NotPermittedError: it can't be written; the other events are still there.

    Durability: once it returns, the event survives a power cut. Before, it may be there or not, and of the others only
    the one that it replaces may be gone.
    """
    path = path_of(config)
    content = _content(path)
    kept = parse(content or b"").entries
    sequence = kept[-1].sequence + 1 if kept else 0
    is_over = sequence >= _NUMBER_LIMIT
    if is_over:
        # No history gets there by itself, and the next record could not be read.
        kept = [one._replace(sequence=number) for number, one in enumerate(kept[1 - RECORD_COUNT :])]
        sequence = len(kept)
    added = entry._replace(sequence=sequence)
    happened = [*kept, added][-RECORD_COUNT:]
    if content is None or len(content) != RECORD_BYTES * RECORD_COUNT or is_over:
        if content is None:
            _check_place(config, path)
        _make(path, happened)
    else:
        _overwrite(path, encode(added), _offset(added))
    return happened


def parse(content: bytes) -> History:
    """Read what a file holds; its length does not matter. Of two records with one sequence number the later counts."""
    entries: dict[int, Entry] = {}
    damaged = 0
    for offset in range(0, len(content), RECORD_BYTES):
        record = content[offset : offset + RECORD_BYTES]
        if not record.strip():
            continue
        entry = _decode(record)
        if entry is None:
            damaged += 1
        else:
            entries[entry.sequence] = entry
    return History([entries[sequence] for sequence in sorted(entries)], damaged)


def encode(entry: Entry) -> bytes:
    """Make the record of an event; texts that are too long are cut."""
    values = {key: value for key, value in entry._asdict().items() if value is not None}
    values |= {key: _cut(values[key], _WORD_BYTES) for key in _WORDS if key in values}
    room = RECORD_BYTES - _CHECKSUM_BYTES - len("\n")
    taken = len(_dump(values | {"message": ""})) - len('""')
    body = _dump(values | {"message": _cut(entry.message, room - taken)})
    text = f"{body:{room}}\n".encode("ascii")
    return b"%08x " % zlib.crc32(text) + text


def as_stored(entry: Entry) -> Entry:
    """Return an event as it will be read, its texts cut."""
    [stored] = parse(encode(entry)).entries
    return stored


def to_json(config: Config) -> dict[str, Any]:
    """Gather what `history --json` prints.

    Raises:
        InputError, DeviceError, NotPermittedError: the file is there and can't be read.
    """
    found = read(config)
    entries = [entry_to_json(entry) for entry in found.entries]
    stale = config.boot.disk_user is not None
    return {
        "schema": SCHEMA, "path": path_of(config), "damaged": found.damaged, "may_be_stale": stale, "entries": entries,
    }  # fmt: skip


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """Turn an event into what `history --json` and `status --json` print of it."""
    return {"sequence": entry.sequence, **entry._asdict()}


def render(history: dict[str, Any]) -> str:
    """Write what `to_json` gathered for a person."""
    lines = []
    for entry in history["entries"]:
        cause = f" ({entry['cause']})" if entry["cause"] else ""
        # What a check printed may have several lines.
        message = joined(entry["message"])
        head = f"{entry['sequence']:5}  {entry['time']}  {entry['slot']}  {entry['event']:16}"
        lines.append(one_line(f"{head}  {message}{cause}"))
    if history["damaged"]:
        lines.append(f"{history['damaged']} more can't be read")
    return "\n".join(lines or [f"no events yet in {history['path']}"])


def _newest(content: bytes, count: int) -> list[Entry] | None:
    """Read the records with the highest sequence numbers; None: for that, each record has to be read as a whole."""
    records: dict[int, bytes] = {}
    for offset in range(0, len(content), RECORD_BYTES):
        record = content[offset : offset + RECORD_BYTES]
        if not record.strip():
            continue
        # The number is what `encode` writes last; in a text there would be a backslash before the quotation marks.
        _, key, number = record.rpartition(b',"sequence":')
        number = number.rstrip(b"\n ").removesuffix(b"}")
        if not key or not number.isdigit():
            return None
        records[int(number)] = record
    newest = [_decode(records[sequence]) for sequence in sorted(records)[-count:]]
    entries = [entry for entry in newest if entry is not None]
    return entries if len(entries) == len(newest) else None


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _cut(text: str, limit: int) -> str:
    """Cut a text so that JSON takes no more bytes for it."""
    if len(_dump(text)) <= limit:
        return text
    text = text[:limit]
    while text and len(_dump(text + _CUT)) > limit:
        text = text[:-1]
    return text + _CUT


def _decode(record: bytes) -> Entry | None:
    text = record[_CHECKSUM_BYTES:]
    if len(record) != RECORD_BYTES or record[:_CHECKSUM_BYTES] != b"%08x " % zlib.crc32(text):
        return None
    try:
        stored = files.parse(text)
        # What a newer version has added is left out.
        values = {key: value for key, value in stored.items() if key in Entry._fields}
        entry = Entry(**values)
    except (ValueError, TypeError, AttributeError):
        return None
    known = all(type(value) in _KINDS.get(key, (str,)) for key, value in values.items())
    return entry if known and all(0 <= values.get(key, 0) < _NUMBER_LIMIT for key in _KINDS) else None


def _offset(entry: Entry) -> int:
    return entry.sequence % RECORD_COUNT * RECORD_BYTES


def _content(path: str) -> bytes | None:
    """Return what the file holds, up to a limit; None: it does not exist."""
    try:
        descriptor = _open(path, os.O_RDONLY)
        with open(descriptor, "rb") as file:
            _check_kind(descriptor, path)
            return file.read(_READ_LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error


def _open(path: str, mode: int) -> int:
    """Open the file, but no link: beside a block that somebody else named, it could lead to anything."""
    try:
        return os.open(path, mode | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise errors.InputError(
                f"cannot use {path}: it is a symbolic link", hint="state.history may name a link, or where it leads"
            ) from error
        raise


def _check_kind(descriptor: int, path: str) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise errors.InputError(f"cannot use {path}: it is not a regular file")


def _check_place(config: Config, path: str) -> None:
    """Refuse to make the file where GRUB's file system should be mounted, and most likely is not."""
    if config.state.history is not None:
        return
    directory = os.path.dirname(path)
    if not any(os.path.exists(other) for other in (str(config.boot.grubenv), os.path.join(directory, "grub.cfg"))):
        raise errors.CreateError(
            f"cannot make {path}: neither an environment block nor a grub.cfg lies beside it",
            hint=f"mount what GRUB reads at {directory}",
        )


def _make(path: str, entries: list[Entry]) -> None:
    """Put a new file there, whole: no block of it is ever allocated again."""
    ring = bytearray((b" " * (RECORD_BYTES - 1) + b"\n") * RECORD_COUNT)
    for entry in entries:
        ring[_offset(entry) : _offset(entry) + RECORD_BYTES] = encode(entry)
    try:
        files.replace(path, bytes(ring), durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"make {path}", errors.CreateError) from error


def _overwrite(path: str, record: bytes, offset: int) -> None:
    try:
        descriptor = _open(path, os.O_WRONLY)
        try:
            if os.pwrite(descriptor, record, offset) != len(record):
                raise OSError(errno.EIO, "the record was not written to its end")
            # Size and place stay, so the sector is all that has to go down. A full fsync would write the time of the
            # change too: on vfat into the directory, which the environment block lies in.
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if console.debug:
            console.debug("write %s at %d, %d bytes, flushed", path, offset, len(record))
    except OSError as error:
        raise errors.from_os_error(error, f"write {path} at {offset}") from error
