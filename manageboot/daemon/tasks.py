"""What the daemon can do, how that can end, and what became of it so far. Pure.

`policy` decides on a task. A job does it, in a process of its own; only the health checks run beside the loop.
All times are in seconds since boot.
"""

from enum import Enum, auto
from typing import NamedTuple

BUSY_S = 240.0
"""How long somebody else may hold the lock of the node, before the one who holds it counts as hung."""


class Task(Enum):
    """What the daemon can do."""

    ARRIVE = "flush what GRUB wrote, set the marker"
    TELL_BOOT_EARLY = "tell what this boot is, as far as that is known"
    TELL_BOOT = "tell what this boot is"
    TELL_DAMAGED = "tell that the block says nothing"
    CHECK = "run the health checks"
    CONFIRM = "confirm the trial"
    ABORT_UNHEALTHY = "abort the trial, because a required check failed"
    ABORT_DEADLINE = "abort the trial, because nobody confirmed it in time"
    TELL_OVERDUE = "tell that a reboot did not come"
    REBOOT = "reboot, and leave the block as it is"


REBOOTING = frozenset({Task.ABORT_UNHEALTHY, Task.ABORT_DEADLINE, Task.REBOOT})
"""The tasks after which the node has to go down."""

TELLING = frozenset({Task.TELL_BOOT_EARLY, Task.TELL_BOOT, Task.TELL_DAMAGED, Task.TELL_OVERDUE})
"""Those that only tell of something; whether they fail says nothing of the others."""

LOCKING = frozenset({Task.ARRIVE, Task.CONFIRM, Task.ABORT_UNHEALTHY, Task.ABORT_DEADLINE})
"""Those that need the lock of the node."""


class JobResult(Enum):
    """How a job ended."""

    DONE = auto()
    CONFIRMED = auto()
    """It was to reboot the node, and did not: the trial was confirmed before its block was lost."""
    LOCKED = auto()
    """Another run held the lock of the node, so the task is still to be done."""
    FAILED = auto()
    HUNG = auto()
    """It did not end in time, as one that waits for a disk, and was killed."""

    @property
    def is_success(self) -> bool:
        """Whether the task is done, or need not be done."""
        return self in {JobResult.DONE, JobResult.CONFIRMED}


class Jobs(NamedTuple):
    """What became of the jobs of this daemon that did a task."""

    hung: bool = False
    """Whether one of them hung."""
    failed_s: float | None = None
    """When a task last failed, if none succeeded since."""
    put_off_s: float | None = None
    """When another run last kept a task that only tells of something from the lock."""
    locked_out: Task | None = None
    """The last task, if another run kept it from the lock."""
    locked_since_s: float | None = None
    """Since when other runs have held the lock."""
    lock_hangs: bool = False
    """Whether they have held it for so long that they seem to hang."""

    def after(self, task: Task, result: JobResult, now_s: float, *, in_trial: bool) -> "Jobs":
        """Return what is known after one more.

        Args:
            task: what it was to do.
            result: how it ended.
            now_s: when.
            in_trial: whether the booted slot is on trial.
        """
        locked = result is JobResult.LOCKED
        jobs = self._replace(hung=self.hung or result is JobResult.HUNG, locked_out=task if locked else None)
        if task in LOCKING:
            jobs = jobs._after_lock(now_s if locked else None, in_trial=in_trial)
        if task in TELLING:
            return jobs._replace(put_off_s=now_s if locked else None)
        # A flush that failed at the arrival is not tried again.
        is_over = result.is_success or (task is Task.ARRIVE and not locked)
        return jobs._replace(failed_s=None if is_over else now_s)

    def _after_lock(self, locked_s: float | None, *, in_trial: bool) -> "Jobs":
        if locked_s is None:
            return self._replace(locked_since_s=None, lock_hangs=False)
        since_s = locked_s if self.locked_since_s is None else self.locked_since_s
        # An installation may take longer, but there is none in a trial.
        hangs = self.lock_hangs or (in_trial and locked_s >= since_s + BUSY_S)
        return self._replace(locked_since_s=since_s, lock_hangs=hangs)
