"""Are the local file systems there, and what is made on them at each boot? systemd knows.

The daemon starts before them, since some may never come. But the records lie on one of them, and the directory of the
metrics is made after them.
"""

import itertools

from manageboot.daemon import systemctl
from manageboot.daemon.children import NOT_THERE, Outcome
from manageboot.daemon.observation import FileSystems
from manageboot.daemon.steps import Pause, Steps, StepsRun

UNITS = ("local-fs.target", "systemd-tmpfiles-setup.service")
ASSUMED_AFTER_S = 120.0
"""How long after boot all of them are waited for; then the daemon does without: one may need a key nobody types in."""

_POLL_S = 2.0
_SLOW_POLL_S = 60.0
_POLLS = int(ASSUMED_AFTER_S / _POLL_S)
"""How often it is asked before it is asked slowly, as for a file system check that takes an hour."""


class LocalFileSystems:
    """What systemd has said of them so far."""

    def __init__(self) -> None:
        """Begin; the first call of `advance` asks for the first time."""
        self.state = FileSystems.AWAITED
        self.run = StepsRun(steps())
        """Asks until they are settled."""

    def advance(self, now_s: float) -> bool:
        """Go on asking as far as is possible without waiting; return whether there is news.

        Args:
            now_s: seconds since boot.
        """
        before = self.state
        if self.run.advance(now_s):
            self.state = FileSystems.SETTLED
        elif now_s >= ASSUMED_AFTER_S:
            self.state = FileSystems.ASSUMED
        return self.state is not before


def steps() -> Steps:
    """Yield what to run until they are there, or systemd does not try any more."""
    for count in itertools.count(1):
        outcome = yield systemctl.show(UNITS, ("ActiveState", "Job"))
        if outcome is not None and are_settled(outcome):
            return
        yield Pause(_POLL_S if count <= _POLLS else _SLOW_POLL_S)


def are_settled(outcome: Outcome) -> bool:
    """Say whether systemd is done with these units, as far as `systemctl show` tells; without it there is none."""
    if outcome.status == NOT_THERE:
        return True
    units = systemctl.shown(UNITS, outcome)
    return units is not None and all(_is_done(unit) for unit in units.values())


def _is_done(unit: dict[str, str]) -> bool:
    """Say whether a unit is active, or has no job that would make it so: it failed, or nobody wants it."""
    state = unit.get("ActiveState")
    return state == "active" or (state is not None and not unit.get("Job"))
