"""Is this boot good? Which checks there are, in which order, and what their results mean.

`Examination.steps` says what to run, and is told how that ended, so that an event loop can do other things meanwhile,
and a test needs neither systemd nor time.
"""

import os
import re
import stat
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from manageboot.config import HealthConfig
from manageboot.daemon import systemctl
from manageboot.daemon.children import Outcome
from manageboot.daemon.observation import Verdict
from manageboot.daemon.steps import Command, Pause, Steps, StepsRun
from manageboot.system.text import one_line

BOOT_COMPLETE = "boot-complete.target"
REQUIRED, WANTED = "required", "wanted"

_POLL_S = 3.0
_SETTLE_S = 5.0
"""A unit that somebody restarts is down for a moment; so it has to be down twice."""
_TAIL_CHARACTERS = 2000
"""How much of the end of an executable's output is shown."""
_UNIT_NAME_LIMIT = 256
_BOOT_IS_OVER = frozenset({"running", "degraded", "maintenance"})
_ON_ITS_WAY = frozenset({"activating", "reloading", "refreshing"})


class Result(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    HUNG = "hung"
    SKIPPED = "skipped"


class CheckResult(NamedTuple):
    """One check: a unit, or an executable in health.d by its path there."""

    name: str
    required: bool
    result: Result
    text: str = ""
    """Why, or the end of what it printed."""

    @property
    def good(self) -> bool:
        """Whether the trial may be confirmed, as far as this check goes."""
        return not self.required or self.result in {Result.PASSED, Result.SKIPPED}


class _UnitState(NamedTuple):
    """The state of a unit in systemd's words."""

    active: str
    sub: str
    load: str

    @property
    def text(self) -> str:
        return f"{self.active} ({self.sub if self.load == 'loaded' else self.load})"


class Examination:
    """All checks of one boot."""

    def __init__(self, config: HealthConfig) -> None:
        """Prepare the checks; the directories are looked at when it is their turn."""
        self._config = config
        self.results: list[CheckResult] = []
        self.verdict = Verdict.RUNNING
        self.doing = "waiting for the boot to end"
        self.run = StepsRun(self.steps())
        """Does what they ask for, and lets time pass."""

    @property
    def cause(self) -> str:
        """Why the boot is not good; empty: it is, or that is not known yet."""
        bad = (result for result in self.results if not result.good)
        return "; ".join(f"{result.name} {result.result}: {result.text}" for result in bad)

    def to_json(self) -> dict[str, Any]:
        """Gather what `status --json` prints."""
        checks = [result._asdict() for result in self.results]
        return {"verdict": self.verdict, "doing": self.doing, "checks": checks}

    def steps(self) -> Steps:
        """Yield what to run, one after the other; each is answered by its outcome, a pause by None.

        The first required check that is not good is the last: it decides.
        """
        yield from self._wait_for_boot()
        yield from self._units()
        for kind in (REQUIRED, WANTED):
            for name, path in self._executables(kind):
                if all(result.good for result in self.results):
                    yield from self._executable(name, path, required=kind == REQUIRED)
        self.verdict = Verdict.GOOD if all(result.good for result in self.results) else Verdict.BAD
        self.doing = ""

    def _wait_for_boot(self) -> Steps:
        """Wait until systemd has worked through all that a boot starts; some units may have failed."""
        while True:
            outcome = yield systemctl.IS_SYSTEM_RUNNING
            if outcome is not None and outcome.output in _BOOT_IS_OVER:
                return
            yield Pause(_POLL_S)

    def _units(self) -> Steps:
        for name in self._config.required_units:
            if not _is_unit_name(name):
                self.results.append(CheckResult(name, True, Result.FAILED, "that is not the name of a unit"))
        if self.results:
            return
        units = (BOOT_COMPLETE, *self._config.required_units)
        down_before: set[str] = set()
        self.doing = f"waiting for {', '.join(units)}"
        while True:
            outcome = yield systemctl.show(units, ("LoadState", "ActiveState", "SubState"))
            states = _states(systemctl.shown(units, outcome))
            if states is None:
                # A systemd that is busy says nothing of the units; the deadline, if there is one, ends this.
                self.doing = f"asking systemctl again for the state of {', '.join(units)}"
                yield Pause(_SETTLE_S)
                continue
            self.doing = f"waiting for {', '.join(units)}"
            up = {unit for unit, state in states.items() if state.active == "active"}
            down = {unit for unit, state in states.items() if state.active not in {"active", *_ON_ITS_WAY}}
            if down & down_before or len(up) == len(states):
                break
            down_before = down
            yield Pause(_SETTLE_S)
        for unit in units:
            if unit in up | down:
                result = Result.PASSED if unit in up else Result.FAILED
                self.results.append(CheckResult(unit, True, result, states[unit].text))

    def _executables(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield what lies in a directory of checks; one that can't be read is a check that failed."""
        try:
            yield from _listed(self._config.directory, kind)
        except OSError as error:
            cause = f"cannot read {os.path.join(self._config.directory, kind)}: {error.strerror}"
            self.results.append(CheckResult(kind, kind == REQUIRED, Result.FAILED, cause))

    def _executable(self, name: str, path: str, *, required: bool) -> Steps:
        self.doing = f"running {name}"
        try:
            # By its mode: access() denies what another user alone may run, and that is a check which failed.
            is_executable = os.stat(path).st_mode & 0o111 != 0
        except OSError as error:
            self.results.append(CheckResult(name, required, Result.FAILED, f"cannot look at it: {error.strerror}"))
            return
        if not is_executable:
            self.results.append(CheckResult(name, required, Result.SKIPPED, "it is not executable"))
            return
        outcome = yield Command((path,), self._config.timeout_s, mixed=True)
        # While a boot starts all at once there may be too little of something, and that is not the answer of a check.
        for _ in range(int(self._config.timeout_s / _POLL_S)):
            if outcome is None or not outcome.lacking:
                break
            yield Pause(_POLL_S)
            outcome = yield Command((path,), self._config.timeout_s, mixed=True)
        status, output, said, _lacking = Outcome(None) if outcome is None else outcome
        if status is None:
            result, cause = Result.HUNG, f"no end after {self._config.timeout_s} s"
        elif status < 0:
            result, cause = Result.FAILED, f"killed by signal {-status}"
        else:
            result, cause = (Result.FAILED, f"exit status {status}") if status else (Result.PASSED, "")
        text = "\n".join(line for line in (cause, said, output[-_TAIL_CHARACTERS:]) if line)
        self.results.append(CheckResult(name, required, result, text))


def _is_unit_name(name: str) -> bool:
    """Say whether `systemctl show` gives one answer for a name.

    A pattern has many, a template alone none, and a number is that of a job. What else a unit can't have in its name,
    as the slash of a path, systemctl escapes, each byte with four characters.

    Source: systemctl(1), systemd-escape(1), systemd.unit(5).
    """
    length = len(re.sub(rb"[^\w:.\\@/-]", b"....", name.encode()))
    return 0 < length < _UNIT_NAME_LIMIT and not re.search(r"[*?[\0]|^@|@(\.\w+)?\Z|^\d+\Z", name)


def _listed(directory: str, kind: str) -> list[tuple[str, str]]:
    """List what lies in a directory of checks, in the order of names: the name, as it is shown, and the path."""
    parent = os.path.join(directory, kind)
    try:
        names = sorted(os.listdir(parent))
    except FileNotFoundError:
        # There are no checks, unless a link says that they are elsewhere.
        if any(os.path.islink(path) and not os.path.exists(path) for path in (directory, parent)):
            raise
        return []
    found = []
    for name in names:
        path = os.path.join(parent, name)
        try:
            is_file = stat.S_ISREG(os.stat(path).st_mode)
        except OSError:
            # A dangling link is a check that can't run, and so it has failed.
            is_file = True
        if is_file and not name.startswith("."):
            found.append((one_line(f"{kind}/{name}"), path))
    return found


def _states(units: dict[str, dict[str, str]] | None) -> dict[str, _UnitState] | None:
    """Pick the states out of an answer of systemd's; None: it does not tell all of them."""
    if units is None:
        return None
    try:
        return {
            name: _UnitState(unit["ActiveState"], unit["SubState"], unit["LoadState"]) for name, unit in units.items()
        }
    except KeyError:
        return None
