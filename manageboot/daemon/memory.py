"""What the daemon remembers of this boot, and how that changes. Pure; `daemonfile` keeps it for the next daemon."""

from typing import NamedTuple

from manageboot.daemon.policy import AGAIN_S, Known, Task, awaits_reboot
from manageboot.protocol import Phase

_STILL_S = 5 * AGAIN_S
"""Who has not asked for so long, as while a person is at work, begins anew."""


class Memory(NamedTuple):
    """What a daemon that was killed would have known. Times are in seconds since boot."""

    arrived: bool = False
    boot_told: bool = False
    boot_told_early: bool = False
    """Whether what this boot is was told before systemd was done with the file systems, so that it may be told anew."""
    damage_told: bool = False
    overdue_told: bool = False
    readable: bool = False
    """Whether the block said something that is not of a trial, and of none since."""
    tried: bool = False
    """Whether a trial was seen."""
    stale: bool = False
    """Whether the commit that waits for a reboot is of an earlier boot."""
    stale_trial: bool = False
    """Whether the trial that the block calls given up was an earlier one."""
    waits_since_s: float | None = None
    asked_s: float | None = None
    insists_since_s: float | None = None
    """Since when a reboot is asked for again and again."""


def until(memory: Memory, now_s: float) -> Memory:
    """Return what can be remembered at a time: what was not yet, somebody else wrote, and waiting might not end."""
    asked_s, waits_since_s, insists_since_s = (
        None if time_s is None or time_s > now_s else time_s
        for time_s in (memory.asked_s, memory.waits_since_s, memory.insists_since_s)
    )
    return memory._replace(asked_s=asked_s, waits_since_s=waits_since_s, insists_since_s=insists_since_s)


def after_asking(memory: Memory, now_s: float) -> Memory:
    """Return what is remembered when a reboot is asked for, once more or, after a while without, for the first time."""
    goes_on = memory.asked_s is not None and now_s <= memory.asked_s + _STILL_S
    since_s = memory.insists_since_s if goes_on else None
    return memory._replace(asked_s=now_s, insists_since_s=now_s if since_s is None else since_s)


def after_look(memory: Memory, phase: Phase | None, *, may_be_stale: bool) -> Memory:
    """Return what is remembered after a look at the block.

    Args:
        memory: what was remembered.
        phase: what was seen; None: the block could not be read.
        may_be_stale: whether the trial that the block calls given up may be an earlier one.
    """
    if phase is None:
        return memory
    # The arrival clears it, where it is one. So what is found later is of this boot, unless it could not be cleared.
    memory = memory._replace(stale_trial=may_be_stale and (memory.stale_trial or not memory.arrived))
    # Until the block says something else, one that can't be read any more is that of a trial.
    if phase is Phase.TRIAL:
        memory = memory._replace(tried=True, readable=False)
    elif not memory.readable:
        # What is pending at the first look is of an earlier boot, and this boot did not try it.
        stale = phase is Phase.PENDING and not memory.arrived
        memory = memory._replace(readable=True, stale=stale)
    return memory if phase is Phase.PENDING else memory._replace(stale=False)


def after_refusal(memory: Memory) -> Memory:
    """Return what is remembered when a reboot proved needless: the trial was confirmed before its block was lost."""
    return memory._replace(readable=True, asked_s=None)


def after_wait(memory: Memory, known: Known, now_s: float) -> Memory:
    """Return what is remembered of a reboot that is awaited, or not any more."""
    if awaits_reboot(known):
        return memory._replace(waits_since_s=memory.waits_since_s or now_s)
    if known.phase is None:
        return memory
    # A trial that was given up may not show it, where that could not be written.
    asked_s = memory.asked_s if known.phase is Phase.TRIAL else None
    return memory._replace(waits_since_s=None, asked_s=asked_s, overdue_told=False)


def after_task(memory: Memory, task: Task, *, succeeded: bool, early: bool) -> Memory:
    """Return what is remembered after a task. A flush that failed is final, and what is to be told is told once.

    Args:
        memory: what was remembered.
        task: what is over.
        succeeded: whether it did what it was sent for.
        early: whether it was sent before systemd was done with the file systems.
    """
    match task:
        case Task.ARRIVE:
            return memory._replace(arrived=True, stale_trial=memory.stale_trial and not succeeded)
        case Task.TELL_BOOT:
            return memory._replace(boot_told=not early, boot_told_early=True)
        case Task.TELL_DAMAGED:
            return memory._replace(damage_told=True)
        case Task.TELL_OVERDUE:
            return memory._replace(overdue_told=True)
        case _:
            return memory
