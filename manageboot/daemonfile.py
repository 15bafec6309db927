"""What the daemon tells other processes, and itself after a restart.

It is a small file beside the lock, and good for one boot.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from manageboot import boottrace, lock
from manageboot.memory import Memory

_NAME = "daemon.json"
_MAX_BYTES = 1 << 18
_SHORTER_CHARACTERS = (500, 50)
"""Where the file would be longer than that, no text in it is longer than this, or else than this."""


class Shown(NamedTuple):
    """What `status` shows of the daemon."""

    status: str = ""
    deadline_s: float | None = None
    """When the trial is given up, in seconds since boot."""
    health: dict[str, Any] | None = None
    """The verdict, and the result of each check; None: there were none in this boot."""
    devices: Mapping[str, str] = MappingProxyType({})
    """What is wrong with which device."""
    overdue: bool = False
    """Whether a reboot did not come."""


def lock_path(node_lock: str) -> str:
    """Return the lock that a running daemon holds, from the path of the node's lock."""
    return os.path.join(os.path.dirname(node_lock), "daemon.lock")


def path(node_lock: str) -> str:
    """Return where the file is, from the path of the node's lock."""
    return os.path.join(os.path.dirname(node_lock), _NAME)


def store(node_lock: str, memory: Memory, shown: Shown) -> bool:
    """Replace the file as a whole; return whether that was done. Nothing of it has to survive a power cut."""
    file_path = path(node_lock)
    content = _fitting(memory, shown)
    temporary = f"{file_path}.new"
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            # Queries need no root, whatever the umask is.
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
        os.rename(temporary, file_path)
    except OSError:
        with suppress(OSError):
            os.unlink(temporary)
        return False
    return True


def load(node_lock: str) -> tuple[Memory, Shown]:
    """Read what the last daemon of this boot left; what can't be understood counts as nothing."""
    try:
        with open(path(node_lock), encoding="utf-8") as file:
            content = json.loads(file.read(_MAX_BYTES))
        if content["boot"] != boottrace.boot_id():
            return Memory(), Shown()
        return Memory(**content["memory"]), Shown(**content["shown"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Memory(), Shown()


def to_json(node_lock: str) -> dict[str, Any]:
    """Gather what `status --json` prints of the daemon."""
    holder = lock.holder(lock_path(node_lock))
    _, shown = load(node_lock)
    return {"running": holder is not None, **_plain(shown)}


def _fitting(memory: Memory, shown: Shown) -> str:
    """Write the file so that it can be read as a whole; what is shown gives way, what is remembered does not."""
    plain = _plain(shown)
    for showing in (plain, *(_cut(plain, characters) for characters in _SHORTER_CHARACTERS), _plain(Shown())):
        content = json.dumps({"boot": boottrace.boot_id(), "memory": memory._asdict(), "shown": showing})
        if len(content) <= _MAX_BYTES:
            break
    return content


def _cut(value: Any, characters: int) -> Any:
    """Cut every text in a value."""
    match value:
        case str() if len(value) > characters:
            return value[:characters] + "..."
        case dict():
            return {key: _cut(one, characters) for key, one in value.items()}
        case list():
            return [_cut(one, characters) for one in value]
    return value


def _plain(shown: Shown) -> dict[str, Any]:
    return {**shown._asdict(), "devices": dict(shown.devices)}
