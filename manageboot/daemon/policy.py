"""What the daemon does next: a pure decision, from what is known and the time since boot.

No I/O and no clock. All times are in seconds since boot, so that a clock that is set changes nothing, and a daemon that
is restarted decides as the one before it would have.
"""

from typing import NamedTuple

from manageboot.daemon.memory import AGAIN_S, Memory
from manageboot.daemon.observation import FileSystems, Observation, Verdict
from manageboot.daemon.tasks import REBOOTING, Jobs, Task
from manageboot.protocol import Phase

RETRY_S = 15.0
"""After a task that failed."""
OVERDUE_AFTER_S = 300.0
"""How long somebody else's reboot may take."""
LONG_S = 3600.0
"""How long a boot lasts at least, where the next one would be the same again."""


class Rules(NamedTuple):
    """What the configuration wants."""

    automatic: bool
    """Whether a healthy trial is confirmed."""
    deadline_s: int
    """When a trial is aborted, since boot; 0: never."""
    reboot_again: bool
    """Whether to insist on a reboot that somebody else asked for."""


class Decision(NamedTuple):
    """What to do now, if anything, and when to decide anew, though nothing else happens."""

    task: Task | None
    wake_s: float | None = None


class _Situation(NamedTuple):
    """All that a decision depends on."""

    rules: Rules
    seen: Observation
    memory: Memory
    jobs: Jobs
    now_s: float

    @property
    def is_late(self) -> bool:
        return self.rules.deadline_s > 0 and self.now_s >= self.rules.deadline_s


def decide(rules: Rules, seen: Observation, memory: Memory, jobs: Jobs, now_s: float) -> Decision:
    """Say what to do.

    Args:
        rules: what the configuration wants.
        seen: what the daemon sees.
        memory: what it remembers, including this.
        jobs: what became of the jobs.
        now_s: seconds since boot.
    """
    decision = _decide(_Situation(rules, seen, memory, jobs, now_s))
    # It reads what may lie on a disk that hangs, so all else comes first.
    if decision.task is None and (task := _what_to_tell_of_boot(seen, memory)) is not None:
        tell_s = now_s if jobs.put_off_s is None else jobs.put_off_s + RETRY_S
        if now_s >= tell_s:
            return Decision(task)
        return Decision(None, tell_s if decision.wake_s is None else min(tell_s, decision.wake_s))
    return decision


def _what_to_tell_of_boot(seen: Observation, memory: Memory) -> Task | None:
    """Say whether to tell what this boot is: once the records should be there, and anew when systemd is done."""
    if not memory.arrived or memory.boot_told:
        return None
    match seen.file_systems:
        case FileSystems.AWAITED:
            return None
        case FileSystems.ASSUMED:
            return None if memory.boot_told_early else Task.TELL_BOOT_EARLY
        case FileSystems.SETTLED:
            return Task.TELL_BOOT


def _decide(known: _Situation) -> Decision:
    retry_s = None if known.jobs.failed_s is None else known.jobs.failed_s + RETRY_S
    if retry_s is not None and known.now_s < retry_s:
        return Decision(None, retry_s)
    if known.seen.damaged and not known.memory.damage_told:
        return Decision(Task.TELL_DAMAGED)
    if known.seen.phase is None:
        return _blind(known) if known.memory.is_blind(known.seen) else Decision(None)
    if not known.memory.arrived and not _arrival_can_wait(known):
        return Decision(Task.ARRIVE)
    if known.memory.awaits_reboot(known.seen):
        return _awaited(known)
    return _trial(known) if known.seen.phase is Phase.TRIAL else Decision(None)


def _arrival_can_wait(known: _Situation) -> bool:
    """Say whether to judge a trial though its arrival is not done: the lock may be held for ever, and it has to end."""
    if known.seen.phase is not Phase.TRIAL:
        return False
    if known.jobs.hung or (known.jobs.failed_s is not None and known.is_late):
        return True
    # Whoever holds the lock may still let go, so the arrival is tried again and again, after what can't wait.
    return known.jobs.lock_hangs and (
        known.memory.asked_s is not None or _trial(known).task in {Task.CHECK, *REBOOTING}
    )


def _trial(known: _Situation) -> Decision:
    if known.seen.inhibited:
        return Decision(None)
    asked_s = known.memory.asked_s
    if asked_s is not None and known.jobs.failed_s is None and known.now_s < asked_s + AGAIN_S:
        # It was aborted, and that could not be written down; GRUB goes back all the same.
        return Decision(None, asked_s + AGAIN_S)
    if known.seen.verdict is Verdict.BAD:
        return _abort(Task.ABORT_UNHEALTHY, known)
    if known.is_late:
        return _abort(Task.ABORT_DEADLINE, known)
    if known.seen.verdict is Verdict.GOOD and known.rules.automatic:
        return Decision(Task.CONFIRM)
    if known.seen.verdict is None:
        return Decision(Task.CHECK)
    return Decision(None, float(known.rules.deadline_s) if known.rules.deadline_s else None)


def _abort(task: Task, known: _Situation) -> Decision:
    # Where nothing can be written, a reboot alone does it: GRUB goes back without the cause in the block, too. A block
    # that neither GRUB nor the daemon could write may be writable after a reboot, if its file system is read-only
    # because of an error.
    stuck = known.seen.repeats and known.jobs.failed_s is not None and known.now_s >= LONG_S
    return _reboot(known) if known.jobs.hung or known.jobs.lock_hangs or stuck else Decision(task)


def _blind(known: _Situation) -> Decision:
    """Nothing can be written and nobody can confirm; but at the next boot GRUB goes back, or counts one try more."""
    bad = known.seen.verdict is Verdict.BAD
    if known.seen.inhibited or not (known.rules.deadline_s or bad):
        return Decision(None)
    due_s = known.now_s if bad else float(known.rules.deadline_s)
    if known.memory.asked_s is not None:
        due_s = known.memory.asked_s + AGAIN_S
    return _reboot(known) if known.now_s >= due_s else Decision(None, due_s)


def _reboot(known: _Situation) -> Decision:
    """Reboot with a block that can't be written; but not in a loop."""
    if known.seen.repeats and known.now_s < LONG_S:
        return Decision(None, LONG_S)
    return Decision(Task.REBOOT)


def _awaited(known: _Situation) -> Decision:
    memory = known.memory
    if memory.asked_s is not None:
        # What failed has waited already.
        due_s = known.now_s if known.jobs.failed_s is not None else memory.asked_s + AGAIN_S
    else:
        due_s = (known.now_s if memory.waits_since_s is None else memory.waits_since_s) + OVERDUE_AFTER_S
    if known.now_s < due_s:
        return Decision(None, due_s)
    if not memory.overdue_told:
        return Decision(Task.TELL_OVERDUE)
    insists = memory.asked_s is not None or known.rules.reboot_again
    return Decision(Task.REBOOT) if insists and not known.seen.inhibited else Decision(None)
