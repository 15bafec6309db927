"""What the daemon does next: a pure decision, from what is known of the node and the time since boot.

No I/O and no clock. All times are in seconds since boot, so that a clock that is set changes nothing, and a daemon that
is restarted decides as the one before it would have.
"""

from enum import Enum, StrEnum
from typing import NamedTuple

from manageboot.boot.markers import Trial
from manageboot.protocol import Phase

RETRY_S = 15.0
"""After a task that failed."""
AGAIN_S = 60.0
"""A daemon that still runs so long after it asked for a reboot was not stopped by one."""
OVERDUE_AFTER_S = 300.0
"""How long somebody else's reboot may take."""
BUSY_S = 240.0
"""How long somebody else may hold the lock of the node, before the one who holds it counts as hung."""
LONG_S = 3600.0
"""How long a boot lasts at least, where the next one would be the same again."""

_GIVEN_UP = (Trial.BY_HAND, Trial.UNHEALTHY, Trial.DEADLINE)


class Verdict(StrEnum):
    """What the health checks say of a trial."""

    RUNNING = "running"
    GOOD = "good"
    BAD = "bad"


class Task(Enum):
    """What the daemon can do."""

    ARRIVE = "force down what GRUB wrote, leave a trace"
    TELL_BOOT = "tell what this boot is"
    TELL_DAMAGED = "tell that the block says nothing"
    CHECK = "run the health checks"
    CONFIRM = "confirm the trial"
    GIVE_UP_UNHEALTHY = "give the trial up, because a required check failed"
    GIVE_UP_DEADLINE = "give the trial up, because nobody confirmed it in time"
    TELL_OVERDUE = "tell that a reboot did not come"
    REBOOT = "reboot, and leave the block as it is"


REBOOTING = frozenset({Task.GIVE_UP_UNHEALTHY, Task.GIVE_UP_DEADLINE, Task.REBOOT})
"""The tasks after which the node has to go down."""

TELLING = frozenset({Task.TELL_BOOT, Task.TELL_DAMAGED, Task.TELL_OVERDUE})
"""Those that only tell of something; whether they fail says nothing of the others."""


LOCKING = frozenset({Task.ARRIVE, Task.CONFIRM, Task.GIVE_UP_UNHEALTHY, Task.GIVE_UP_DEADLINE})
"""Those that need the lock of the node."""


class Rules(NamedTuple):
    """What the configuration wants."""

    automatic: bool
    """Whether a healthy trial is confirmed."""
    deadline_s: int
    """When a trial is given up, since boot; 0: never."""
    reboot_again: bool
    """Whether to insist on a reboot that somebody else asked for."""


class Known(NamedTuple):
    """What is known of the node."""

    phase: Phase | None
    """None: the block can't be read, or says nothing."""
    damaged: bool = False
    """Whether it can be read, and says nothing."""
    trial: str = ""
    """What stands in the block of how far the trial came."""
    blind: bool = False
    """Whether GRUB said that it starts a trial, and the block said nothing else since, and can't be read now."""
    held: bool = False
    """Whether a person is at work."""
    verdict: Verdict | None = None
    """None: the checks were not started."""
    arrived: bool = False
    mounted: bool = False
    """Whether the local file systems are there, with the records, or are waited for no longer."""
    boot_told: bool = False
    damage_told: bool = False
    overdue_told: bool = False
    stale: bool = False
    """Whether the commit that is pending had its reboot, and GRUB did not try it; another one would not help."""
    hung: bool = False
    """Whether a task did not end in time, as one that waits for a disk."""
    busy: bool = False
    """Whether somebody has held the lock of the node for so long that they seem to hang."""
    repeats: bool = False
    """Whether GRUB, as the block last said, could not write, and so would start the same trial again and again."""
    waits_since_s: float | None = None
    """Since when a reboot is awaited."""
    asked_s: float | None = None
    """When this daemon last asked for one."""
    failed_s: float | None = None
    """When a task last failed, if none succeeded since."""
    put_off_s: float | None = None
    """When another run last kept one that only tells of something from it."""


class Decision(NamedTuple):
    """What to do now, if anything, and when to decide anew, though nothing else happens."""

    task: Task | None
    wake_s: float | None = None


def awaits_reboot(known: Known) -> bool:
    """Say whether the block is ready for a reboot that has not come."""
    if known.phase is Phase.PENDING:
        return not known.stale
    return known.phase is Phase.TRIAL and known.trial in _GIVEN_UP


def decide(rules: Rules, known: Known, now_s: float) -> Decision:
    """Say what to do.

    Args:
        rules: what the configuration wants.
        known: what is known of the node.
        now_s: seconds since boot.
    """
    decision = _decide(rules, known, now_s)
    # It reads what may lie on a disk that hangs, so all else comes first.
    if decision.task is None and known.arrived and known.mounted and not known.boot_told:
        tell_s = now_s if known.put_off_s is None else known.put_off_s + RETRY_S
        if now_s >= tell_s:
            return Decision(Task.TELL_BOOT)
        return Decision(None, tell_s if decision.wake_s is None else min(tell_s, decision.wake_s))
    return decision


def _decide(rules: Rules, known: Known, now_s: float) -> Decision:
    retry_s = None if known.failed_s is None else known.failed_s + RETRY_S
    if retry_s is not None and now_s < retry_s:
        return Decision(None, retry_s)
    if known.damaged and not known.damage_told:
        return Decision(Task.TELL_DAMAGED)
    if known.phase is None:
        return _blind(rules, known, now_s) if known.blind else Decision(None)
    if not known.arrived and not _goes_on(rules, known, now_s):
        return Decision(Task.ARRIVE)
    if awaits_reboot(known):
        return _awaited(rules, known, now_s)
    return _trial(rules, known, now_s) if known.phase is Phase.TRIAL else Decision(None)


def _goes_on(rules: Rules, known: Known, now_s: float) -> bool:
    """Say whether a trial goes on though it has not arrived: somebody may hold the lock for ever, and it has to end."""
    if known.phase is not Phase.TRIAL:
        return False
    if known.hung or (known.failed_s is not None and _is_late(rules, now_s)):
        return True
    # Whoever holds it may still let go, so the arrival is tried again and again, and only what can't wait comes first.
    return known.busy and (known.asked_s is not None or _trial(rules, known, now_s).task in {Task.CHECK, *REBOOTING})


def _trial(rules: Rules, known: Known, now_s: float) -> Decision:
    if known.held:
        return Decision(None)
    if known.asked_s is not None and known.failed_s is None and now_s < known.asked_s + AGAIN_S:
        # It was given up, and that could not be written down; GRUB goes back all the same.
        return Decision(None, known.asked_s + AGAIN_S)
    if known.verdict is Verdict.BAD:
        return _give_up(Task.GIVE_UP_UNHEALTHY, known, now_s)
    if _is_late(rules, now_s):
        return _give_up(Task.GIVE_UP_DEADLINE, known, now_s)
    if known.verdict is Verdict.GOOD and rules.automatic:
        return Decision(Task.CONFIRM)
    if known.verdict is None:
        return Decision(Task.CHECK)
    return Decision(None, float(rules.deadline_s) if rules.deadline_s else None)


def _give_up(task: Task, known: Known, now_s: float) -> Decision:
    # Without the trace of the cause GRUB goes back as well. And a block that neither it nor the daemon could write may
    # be writable after a reboot, where its file system is read-only since an error.
    stuck = known.repeats and known.failed_s is not None and now_s >= LONG_S
    return _reboot(known, now_s) if known.hung or known.busy or stuck else Decision(task)


def _blind(rules: Rules, known: Known, now_s: float) -> Decision:
    """Nothing can be written and nobody can confirm; but at the next boot GRUB goes back, or counts one try more."""
    bad = known.verdict is Verdict.BAD
    if known.held or not (rules.deadline_s or bad):
        return Decision(None)
    due_s = now_s if bad else float(rules.deadline_s)
    if known.asked_s is not None:
        due_s = known.asked_s + AGAIN_S
    return _reboot(known, now_s) if now_s >= due_s else Decision(None, due_s)


def _is_late(rules: Rules, now_s: float) -> bool:
    return rules.deadline_s > 0 and now_s >= rules.deadline_s


def _reboot(known: Known, now_s: float) -> Decision:
    """Reboot with a block that can't be written; but not in a loop."""
    if known.repeats and now_s < LONG_S:
        return Decision(None, LONG_S)
    return Decision(Task.REBOOT)


def _awaited(rules: Rules, known: Known, now_s: float) -> Decision:
    if known.asked_s is not None:
        # What failed has waited already.
        due_s = now_s if known.failed_s is not None else known.asked_s + AGAIN_S
    else:
        due_s = (now_s if known.waits_since_s is None else known.waits_since_s) + OVERDUE_AFTER_S
    if now_s < due_s:
        return Decision(None, due_s)
    if not known.overdue_told:
        return Decision(Task.TELL_OVERDUE)
    insists = known.asked_s is not None or rules.reboot_again
    return Decision(Task.REBOOT) if insists and not known.held else Decision(None)
