"""What the daemon remembers, and how that changes; each change is one of a value, with no node behind it."""

import pytest

from manageboot.daemon.memory import AGAIN_S, Memory
from manageboot.daemon.observation import Observation
from manageboot.daemon.tasks import JobResult, Task
from manageboot.protocol import BlockState, BootState, Cycle, Slot

IDLE = Observation(BootState(Slot.B, BlockState(Slot.B, Cycle.STABLE)))
PENDING = Observation(BootState(Slot.A, BlockState(Slot.B, Cycle.FIRST_BOOT)))
TRIAL = Observation(BootState(Slot.B, BlockState(Slot.B, Cycle.FAILSAFE_CHECK)))
ABORTED = TRIAL._replace(aborted=True)
NOTHING = Observation(None)


def after(memory: Memory, *seen: Observation, now_s: float = 100.0) -> Memory:
    for one in seen:
        memory = memory.after_observation(one, now_s)
    return memory


def test_what_was_not_yet_is_not_remembered():
    assert Memory(asked_s=5.0, waits_since_s=7.0).until(6.0) == Memory(asked_s=5.0)
    # Nor when something is seen: waiting might not end.
    assert after(Memory(arrived=True, waits_since_s=1e15), PENDING).waits_since_s == 100.0


def test_a_block_that_says_nothing_changes_nothing():
    for memory in (Memory(), Memory(tried=True, asked_s=9.0, stale_trial=True), Memory(readable=True, stale=True)):
        assert after(memory, NOTHING) == memory


@pytest.mark.parametrize("memory", [Memory(), Memory(arrived=True)])
def test_a_trial_that_was_seen_is_one_until_the_block_says_something_else(memory: Memory):
    assert not memory.is_blind(NOTHING)
    assert after(memory, TRIAL).is_blind(NOTHING)
    assert after(memory, TRIAL, NOTHING).is_blind(NOTHING)
    assert not after(memory, TRIAL, IDLE).is_blind(NOTHING)
    assert after(memory, TRIAL, IDLE, TRIAL).is_blind(NOTHING)


def test_grub_tells_of_a_trial_too():
    said = NOTHING._replace(grub_starts_trial=True)
    assert Memory().is_blind(said)
    assert not after(Memory(), IDLE).is_blind(said)


def test_what_is_pending_at_the_first_look_is_of_an_earlier_boot():
    stale = after(Memory(), PENDING)
    assert not stale.awaits_reboot(PENDING)
    # It stays so, until it was taken back.
    assert not after(stale._replace(arrived=True), PENDING).awaits_reboot(PENDING)
    assert after(stale._replace(arrived=True), IDLE, PENDING).awaits_reboot(PENDING)
    assert after(Memory(arrived=True), IDLE, PENDING).awaits_reboot(PENDING)


def test_a_trial_that_was_aborted_waits_for_its_reboot_unless_it_was_an_earlier_one():
    assert after(Memory(arrived=True), ABORTED).awaits_reboot(ABORTED)
    maybe = ABORTED._replace(may_be_stale=True)
    assert not after(Memory(), maybe).awaits_reboot(maybe)
    # After the arrival, which cleared it, it is of this boot.
    arrived = after(Memory(), maybe).after_task(Task.ARRIVE, JobResult.DONE)
    assert after(arrived, maybe).awaits_reboot(maybe)
    # One that could not clear it has not.
    failed = after(Memory(), maybe).after_task(Task.ARRIVE, JobResult.FAILED)
    assert not after(failed, maybe).awaits_reboot(maybe)


def test_a_reboot_is_waited_for_since_it_was_first_seen_to_be_due():
    waits = Memory(arrived=True).after_observation(PENDING, 100.0).after_observation(PENDING, 200.0)
    assert waits.waits_since_s == 100.0
    told = waits._replace(overdue_told=True, asked_s=150.0)
    assert after(told, PENDING, now_s=200.0) == told
    over = after(told, IDLE)
    assert (over.waits_since_s, over.asked_s, over.overdue_told) == (None, None, False)
    # What could not be written down does not show in the block.
    assert after(told._replace(asked_s=90.0), TRIAL).asked_s == 90.0


def test_how_long_it_is_insisted_on_is_remembered():
    memory = Memory().after_asking(900.0)
    assert memory == Memory(asked_s=900.0, insists_since_s=900.0)
    assert memory.after_asking(960.0) == Memory(asked_s=960.0, insists_since_s=900.0)
    assert memory.after_asking(2000.0) == Memory(asked_s=2000.0, insists_since_s=2000.0)
    assert memory.after_asking(900.0 + 5 * AGAIN_S).insists_since_s == 900.0


@pytest.mark.parametrize("task", Task)
def test_what_another_run_kept_from_the_lock_is_still_to_be_done(task: Task):
    assert Memory(stale_trial=True, asked_s=5.0).after_task(task, JobResult.LOCKED) == Memory(
        stale_trial=True, asked_s=5.0
    )


@pytest.mark.parametrize("result", [JobResult.DONE, JobResult.FAILED, JobResult.HUNG])
@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Task.ARRIVE, Memory(arrived=True)),
        (Task.TELL_BOOT_EARLY, Memory(boot_told_early=True)),
        (Task.TELL_BOOT, Memory(boot_told=True, boot_told_early=True)),
        (Task.TELL_DAMAGED, Memory(damage_told=True)),
        (Task.TELL_OVERDUE, Memory(overdue_told=True)),
        (Task.CONFIRM, Memory()),
        (Task.REBOOT, Memory()),
    ],
)
def test_what_is_to_be_done_once_is_done_once_whatever_became_of_it(task: Task, told: Memory, result: JobResult):
    assert Memory().after_task(task, result) == told


def test_a_reboot_that_proved_needless_is_not_asked_for_again():
    blind = Memory(arrived=True, tried=True, asked_s=900.0)
    told = blind.after_task(Task.REBOOT, JobResult.CONFIRMED)
    assert (told.is_blind(NOTHING), told.asked_s) == (False, None)
