"""How the last update of this boot ended: a small file beside the lock, for `status` and for the next run."""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from manageboot.config import Config
from manageboot.system import files
from manageboot.unattended import memory
from manageboot.unattended.memory import Known

if TYPE_CHECKING:
    from manageboot.unattended.decision import Result

_NAME = "update.json"
_LIMIT_BYTES = 64 << 10

_SHORTEST_S = 50 * 60
"""So that the next run of the timer tries it again once, and only then the time doubles."""
_LONGEST_S = 86400


class LastRun(NamedTuple):
    """What is told of a run. Times are in seconds since 1970."""

    result: "Result"
    text: str
    """The same for a person."""
    ran: int
    looked: int | None = None
    """When the channel was last looked at with success; None: not in this boot."""
    code: str | None = None
    """The code word of the error that ended it."""
    release: Known | None = None
    """What it is about; where `again` is, what is tried again then."""
    opens: int | None = None
    """When the window opens, or opened that is open; None: there is none, or nobody asked."""
    closes: int | None = None
    failures: int = 0
    """How often the release could not be installed, one time after the other."""
    again: int | None = None
    """When that is tried again."""

    def is_too_early(self, release: Known, now: float) -> bool:
        """Say whether a release could not be installed, and is not tried again yet; a clock that was set ends that."""
        if self.again is None or release != self.release:
            return False
        return self.again - _LONGEST_S <= now < self.again

    def with_failure(self, before: "LastRun") -> "LastRun":
        """Return it as one whose installation failed: the same release is tried again later each time."""
        failures = before.failures + 1 if before.release == self.release else 1
        wait_s = min(_SHORTEST_S << min(failures - 1, 10), _LONGEST_S)
        return self._replace(failures=failures, again=self.ran + wait_s)

    def still_waiting(self, before: "LastRun") -> "LastRun":
        """Return it as one that has not tried what failed before it, which is tried no earlier for that."""
        if before.again is None:
            return self
        return self._replace(release=before.release, failures=before.failures, again=before.again)


def path(config: Config) -> str:
    """Return where the file is."""
    return os.path.join(config.state.runtime_directory, _NAME)


def lock_path(config: Config) -> str:
    """Return the lock that keeps a second update away."""
    return os.path.join(config.state.runtime_directory, "update.lock")


def store(config: Config, last: LastRun) -> None:
    """Replace the file. Nothing of it has to survive a power cut.

    Raises:
        OSError: it can't be written.
    """
    import json

    files.replace(path(config), f"{json.dumps(to_json(last))}\n".encode())


def load(config: Config) -> LastRun | None:
    """Read the file; None: there was no run in this boot, or what is there can't be one."""
    try:
        stored = files.parse(files.read(path(config), _LIMIT_BYTES, ours=True))
        return _parse(stored) if isinstance(stored, dict) else None
    except (OSError, ValueError):
        return None


def to_json(last: LastRun) -> dict[str, Any]:
    """Turn it into what the file, `update --json` and `status --json` have."""
    values = last._asdict()
    values["result"] = last.result.value
    values["release"] = None if last.release is None else memory.release_to_json(last.release)
    return values


def _parse(stored: dict[str, Any]) -> LastRun:
    """Take the file apart. Raises ValueError where it says what no run would."""
    from manageboot.unattended.decision import Result

    times: dict[str, Any] = {key: stored.get(key) for key in ("ran", "looked", "opens", "closes", "again")}
    text, code, release = stored.get("text"), stored.get("code"), stored.get("release")
    failures = stored.get("failures")
    if type(failures) is not int or not 0 <= failures < 1 << 31:
        raise ValueError("it does not say how often it failed")
    are_times = all(value is None or (type(value) is int and 0 <= value <= files.TIME_MAX) for value in times.values())
    if not isinstance(text, str) or not isinstance(code, str | None) or not are_times or times["ran"] is None:
        raise ValueError("it is of no run")
    return LastRun(
        Result(str(stored.get("result"))),
        text,
        times["ran"],
        times["looked"],
        code=code,
        release=None if release is None else memory.parse_release(release),
        opens=times["opens"],
        closes=times["closes"],
        failures=failures,
        again=times["again"],
    )
