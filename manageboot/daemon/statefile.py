"""The daemon's state file: what it shows in `status`, and what the next daemon has to know of this boot.

It is a small file beside the lock, and good for one boot.
"""

import json
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from manageboot.boot import cmdline
from manageboot.protocol import Phase, describe
from manageboot.system import files, lock
from manageboot.system.beside import beside

if TYPE_CHECKING:
    # `status` reads the file as well, and does without what the daemon remembers.
    from manageboot.daemon.memory import Memory
    from manageboot.daemon.observation import Observation

_NAME = "daemon.json"
_MAX_BYTES = 1 << 18
_SHORTER_CHARACTERS = (500, 50)
"""Where the file would be longer than that, no text in it is longer than this, or else than this."""


class Shown(NamedTuple):
    """What `status` shows of the daemon."""

    status: str = ""
    deadline_s: float | None = None
    """When the trial is aborted, in seconds since boot."""
    health: dict[str, Any] | None = None
    """The verdict, and the result of each check; None: there were none in this boot."""
    devices: Mapping[str, str] = MappingProxyType({})
    """What is wrong with which device."""
    overdue: bool = False
    """Whether a reboot did not come."""


_Kept = TypeVar("_Kept", "Memory", Shown)


class StateFile:
    """The file as the running daemon keeps it."""

    def __init__(self, directory: str, shown: Shown) -> None:
        """Go on with what the last daemon of this boot showed.

        Args:
            directory: the runtime directory.
            shown: what to show, until it is changed.
        """
        self.shown = shown
        self._directory = directory
        self._stored: tuple[Memory, Shown] | None = None
        self._failed = False

    def store(self, memory: "Memory") -> None:
        """Write the file, if it has changed; with what is remembered in it, for the next daemon.

        Where that fails, as in a full /run, it is tried again at the next call.
        """
        if self._stored == (memory, self.shown):
            return
        stored = False
        with beside("the daemon can't be shown"):
            stored = store(self._directory, memory, self.shown)
        if stored:
            self._stored = (memory, self.shown)
            self._failed = False
        elif not self._failed:
            self._failed = True
            # Imported here: `status` reads the file as well, and does without.
            import logging

            logging.getLogger(__name__).error(
                "cannot write %s: `status` and the next daemon are behind", path(self._directory)
            )


def summarize(
    before: Shown, seen: "Observation", memory: "Memory", *, deadline_s: int, doing: str, health: dict[str, Any] | None
) -> Shown:
    """Put what is known into words.

    Args:
        before: what was shown until now; the devices stay.
        seen: what the daemon sees.
        memory: what it remembers.
        deadline_s: when a trial is aborted, in seconds since boot; 0: never.
        doing: what the health checks do now.
        health: what they found; None: what was shown before.
    """
    in_trial = seen.phase is Phase.TRIAL
    words = [seen.problem or ("" if seen.state is None else describe(seen.state))]
    if seen.inhibited:
        words.append("on hold")
    if doing and in_trial:
        words.append(doing)
    ends = deadline_s > 0 and (in_trial or memory.is_blind(seen))
    return Shown(
        status="; ".join(words),
        deadline_s=float(deadline_s) if ends else None,
        health=before.health if health is None else health,
        devices=before.devices,
        overdue=memory.awaits_reboot(seen) and memory.overdue_told,
    )


def lock_path(directory: str) -> str:
    """Return the lock that a running daemon holds, in the runtime directory."""
    return os.path.join(directory, "daemon.lock")


def path(directory: str) -> str:
    """Return where the file is, in the runtime directory."""
    return os.path.join(directory, _NAME)


def store(directory: str, memory: "Memory", shown: Shown) -> bool:
    """Replace the file as a whole; return whether that was done. Nothing of it has to survive a power cut."""
    try:
        files.replace(path(directory), _fitting(memory, shown).encode())
    except OSError:
        return False
    return True


def load(directory: str) -> tuple["Memory", Shown]:
    """Read what the last daemon of this boot left. A part with a value that can't be right counts as empty."""
    from manageboot.daemon.memory import Memory

    content = _content(directory)
    return _taken(Memory(), content.get("memory"), _is_memory), _shown(content)


def to_json(directory: str) -> dict[str, Any]:
    """Gather what `status --json` prints of the daemon."""
    holder = lock.holder(lock_path(directory))
    return {"running": holder is not None, **_plain(_shown(_content(directory)))}


def _content(directory: str) -> dict[str, Any]:
    """Read the file; what is there of another boot, or can't be read, counts as empty."""
    try:
        content = files.parse(files.read(path(directory), _MAX_BYTES, ours=True))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get("boot", "") == cmdline.boot_id() else {}


def _shown(content: dict[str, Any]) -> Shown:
    return _taken(Shown(), content.get("shown"), _is_shown)


def _fitting(memory: "Memory", shown: Shown) -> str:
    """Write the file so that it can be read as a whole; what is shown gives way, what is remembered does not."""
    plain = _plain(shown)
    for showing in (plain, *(_cut(plain, characters) for characters in _SHORTER_CHARACTERS), _plain(Shown())):
        content = json.dumps({"boot": cmdline.boot_id(), "memory": memory._asdict(), "shown": showing})
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


def _taken(nothing: _Kept, values: Any, can_be: Callable[[str, Any], bool]) -> _Kept:
    """Take what was kept; what another version has added is left out, and with a value that can't be all of it."""
    if not isinstance(values, dict):
        return nothing
    known = {key: value for key, value in values.items() if key in nothing._fields}
    return nothing._replace(**known) if all(can_be(key, value) for key, value in known.items()) else nothing


def _is_memory(key: str, value: Any) -> bool:
    return files.is_number(value) if key.endswith("_s") else type(value) is bool


def _is_shown(key: str, value: Any) -> bool:
    match key:
        case "deadline_s":
            return files.is_number(value)
        case "overdue":
            return type(value) is bool
        case "devices":
            return isinstance(value, dict) and all(isinstance(cause, str) for cause in value.values())
        case "health":
            return value is None or (isinstance(value, dict) and _is_health(**value))
        case _:
            return isinstance(value, str)


def _is_health(verdict: Any = None, doing: Any = None, checks: Any = None, **_newer: Any) -> bool:
    """Say whether these may be the verdict and the checks, as `Examination.to_json` gives them."""
    if not (isinstance(verdict, str) and isinstance(doing, str) and isinstance(checks, list)):
        return False
    texts = ("name", "result", "text")
    return all(
        isinstance(check, dict)
        and type(check.get("required")) is bool
        and all(isinstance(check.get(key), str) for key in texts)
        for check in checks
    )


def _plain(shown: Shown) -> dict[str, Any]:
    return {**shown._asdict(), "devices": dict(shown.devices)}
