"""What the daemon remembers of this boot, how that changes, and what it means. Pure; `statefile` keeps it.

All times are in seconds since boot.
"""

from typing import NamedTuple

from manageboot.daemon.observation import Observation
from manageboot.daemon.tasks import JobResult, Task
from manageboot.protocol import Phase

AGAIN_S = 60.0
"""A daemon that still runs so long after it asked for a reboot was not stopped by one."""
_STILL_S = 5 * AGAIN_S
"""After so long without asking, as while a person is at work, the next time counts as the first."""


class Memory(NamedTuple):
    """What a daemon that starts again in this boot has to know of what was before."""

    arrived: bool = False
    boot_told: bool = False
    boot_told_early: bool = False
    """Whether what this boot is was told before systemd was done with the file systems, so that it may be told anew."""
    damage_told: bool = False
    overdue_told: bool = False
    readable: bool = False
    """Whether the block, when it last said something, spoke of no trial: then a trial of this boot is over."""
    tried: bool = False
    """Whether a trial was seen."""
    stale: bool = False
    """Whether the commit that is pending is of an earlier boot: GRUB passed it over, and a reboot would not help."""
    stale_trial: bool = False
    """Whether the trial that the block calls aborted was an earlier one."""
    waits_since_s: float | None = None
    """Since when a reboot is awaited."""
    asked_s: float | None = None
    """When the daemon last asked for one."""
    insists_since_s: float | None = None
    """Since when it has asked again and again."""

    def awaits_reboot(self, seen: Observation) -> bool:
        """Say whether the block is ready for a reboot that has not come."""
        if seen.phase is Phase.PENDING:
            return not self.stale
        return seen.phase is Phase.TRIAL and seen.aborted and not self.stale_trial

    def is_blind(self, seen: Observation) -> bool:
        """Say whether this boot is a trial as far as is known, where the block does not say it now."""
        return (seen.grub_starts_trial or self.tried) and not self.readable

    def until(self, now_s: float) -> "Memory":
        """Return it without times to come: the daemon did not write them, and a wait for them might never end."""
        asked_s, waits_since_s, insists_since_s = (
            None if time_s is None or time_s > now_s else time_s
            for time_s in (self.asked_s, self.waits_since_s, self.insists_since_s)
        )
        return self._replace(asked_s=asked_s, waits_since_s=waits_since_s, insists_since_s=insists_since_s)

    def after_observation(self, seen: Observation, now_s: float) -> "Memory":
        """Return what is remembered once this was seen."""
        return self.until(now_s)._after_phase(seen)._after_wait(seen, now_s)

    def after_asking(self, now_s: float) -> "Memory":
        """Return what is remembered once a reboot is asked for: again, or for the first time since long ago."""
        goes_on = self.asked_s is not None and now_s <= self.asked_s + _STILL_S
        since_s = self.insists_since_s if goes_on else None
        return self._replace(asked_s=now_s, insists_since_s=now_s if since_s is None else since_s)

    def after_task(self, task: Task, result: JobResult) -> "Memory":
        """Return what is remembered once a task has ended. A flush that failed is final, and what is told is told once.

        Args:
            task: what was to be done.
            result: how that ended.
        """
        if result is JobResult.LOCKED:
            return self
        if result is JobResult.CONFIRMED:
            # The reboot proved needless.
            return self._replace(readable=True, asked_s=None)
        match task:
            case Task.ARRIVE:
                return self._replace(arrived=True, stale_trial=self.stale_trial and not result.is_success)
            case Task.TELL_BOOT_EARLY:
                return self._replace(boot_told_early=True)
            case Task.TELL_BOOT:
                return self._replace(boot_told=True, boot_told_early=True)
            case Task.TELL_DAMAGED:
                return self._replace(damage_told=True)
            case Task.TELL_OVERDUE:
                return self._replace(overdue_told=True)
            case _:
                return self

    def _after_phase(self, seen: Observation) -> "Memory":
        if seen.phase is None:
            return self
        # The arrival clears it, where it is one. What is found later is of this boot, unless it could not be cleared.
        memory = self._replace(stale_trial=seen.may_be_stale and (self.stale_trial or not self.arrived))
        # Until the block says something else, one that can't be read any more is that of a trial.
        if seen.phase is Phase.TRIAL:
            memory = memory._replace(tried=True, readable=False)
        elif not memory.readable:
            # What is pending at the first look is of an earlier boot, and this boot did not try it.
            stale = seen.phase is Phase.PENDING and not memory.arrived
            memory = memory._replace(readable=True, stale=stale)
        return memory if seen.phase is Phase.PENDING else memory._replace(stale=False)

    def _after_wait(self, seen: Observation, now_s: float) -> "Memory":
        if self.awaits_reboot(seen):
            return self._replace(waits_since_s=self.waits_since_s or now_s)
        if seen.phase is None:
            return self
        # A trial that was aborted may not show it, where that could not be written.
        asked_s = self.asked_s if seen.phase is Phase.TRIAL else None
        return self._replace(waits_since_s=None, asked_s=asked_s, overdue_told=False)
