"""The daemon's decisions, with a clock that is a number: every state of the node, before and after each moment."""

import itertools
from typing import Any, NamedTuple, Self

import pytest

from manageboot.daemon import policy
from manageboot.daemon.memory import AGAIN_S, Memory
from manageboot.daemon.observation import FileSystems, Observation, Verdict
from manageboot.daemon.policy import LONG_S, OVERDUE_AFTER_S, RETRY_S, Decision, Rules
from manageboot.daemon.tasks import Jobs, Task
from manageboot.protocol import BlockState, BootState, Cycle, Phase, Slot

AUTOMATIC = Rules(automatic=True, deadline_s=900, reboot_again=False)
EXTERNAL = AUTOMATIC._replace(automatic=False)
IC_OS = Rules(automatic=False, deadline_s=0, reboot_again=False)
NOTHING = Decision(None)

STATES = {
    None: None,
    Phase.IDLE: BootState(Slot.B, BlockState(Slot.B, Cycle.STABLE)),
    Phase.PENDING: BootState(Slot.A, BlockState(Slot.B, Cycle.FIRST_BOOT)),
    Phase.TRIAL: BootState(Slot.B, BlockState(Slot.B, Cycle.FAILSAFE_CHECK)),
    Phase.CONFLICT: BootState(Slot.A, BlockState(Slot.B, Cycle.STABLE)),
}


class Known(NamedTuple):
    """What a decision depends on, beside the rules and the time."""

    seen: Observation
    memory: Memory = Memory()
    jobs: Jobs = Jobs()

    def but(self, **changes: Any) -> Self:
        """The same with other values, each in the one of the three that has it."""
        parts = [part._replace(**{name: changes[name] for name in changes.keys() & set(part._fields)}) for part in self]
        assert changes.keys() <= {name for part in self for name in part._fields}
        return type(self)(*parts)


def in_phase(phase: Phase | None, **changes: Any) -> Known:
    return Known(Observation(STATES[phase])).but(**changes)


TRIAL = in_phase(Phase.TRIAL, arrived=True)
CHECKED = TRIAL.but(verdict=Verdict.RUNNING)
GOOD = TRIAL.but(verdict=Verdict.GOOD)
BAD = TRIAL.but(verdict=Verdict.BAD)
PENDING = in_phase(Phase.PENDING, arrived=True, waits_since_s=100.0)


def decide(rules: Rules, known: Known, now_s: float) -> Decision:
    return policy.decide(rules, *known, now_s)


@pytest.mark.parametrize("phase", STATES)
def test_the_states_are_of_their_phases(phase: Phase | None):
    assert Observation(STATES[phase]).phase is phase


@pytest.mark.parametrize("phase", Phase)
def test_the_first_thing_is_to_arrive(phase: Phase):
    assert decide(AUTOMATIC, in_phase(phase), 5.0).task is Task.ARRIVE
    assert decide(AUTOMATIC, in_phase(phase, verdict=Verdict.GOOD), 5000.0).task is Task.ARRIVE


@pytest.mark.parametrize("phase", Phase)
def test_what_the_records_tell_waits_for_the_file_systems(phase: Phase):
    known = in_phase(phase, arrived=True, verdict=Verdict.RUNNING, waits_since_s=5.0)
    assert decide(EXTERNAL, known, 10.0).task is None
    settled = known.but(file_systems=FileSystems.SETTLED)
    assert decide(EXTERNAL, settled, 10.0).task is Task.TELL_BOOT
    assert decide(EXTERNAL, settled.but(boot_told=True), 10.0).task is None


@pytest.mark.parametrize("phase", Phase)
def test_what_is_told_before_systemd_is_done_is_told_once_more_when_it_is(phase: Phase):
    known = in_phase(phase, arrived=True, verdict=Verdict.RUNNING, waits_since_s=5.0)
    assumed = known.but(file_systems=FileSystems.ASSUMED)
    assert decide(EXTERNAL, assumed, 120.0).task is Task.TELL_BOOT_EARLY
    assert decide(EXTERNAL, assumed.but(boot_told_early=True), 121.0).task is None
    settled = assumed.but(file_systems=FileSystems.SETTLED)
    for told_early in (False, True):
        assert decide(EXTERNAL, settled.but(boot_told_early=told_early), 122.0).task is Task.TELL_BOOT
        assert decide(EXTERNAL, settled.but(boot_told_early=told_early, boot_told=True), 122.0).task is None


@pytest.mark.parametrize("known", [BAD, CHECKED])
@pytest.mark.parametrize("file_systems", FileSystems)
def test_nothing_that_has_to_be_done_waits_for_the_file_systems(known: Known, file_systems: FileSystems):
    late = decide(EXTERNAL, known.but(file_systems=file_systems), 900.0)
    assert late.task in {Task.ABORT_UNHEALTHY, Task.ABORT_DEADLINE}
    assert decide(EXTERNAL, TRIAL.but(file_systems=file_systems), 10.0).task is Task.CHECK


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.CONFLICT])
@pytest.mark.parametrize("rules", [AUTOMATIC, EXTERNAL, IC_OS, AUTOMATIC._replace(reboot_again=True)])
def test_without_a_trial_there_is_nothing_to_do(phase: Phase, rules: Rules):
    for now_s in (1.0, 899.0, 901.0, 1e9):
        assert decide(rules, in_phase(phase, arrived=True, verdict=Verdict.BAD), now_s) == NOTHING


def test_a_trial_is_checked_and_confirmed():
    assert decide(AUTOMATIC, TRIAL, 20.0) == Decision(Task.CHECK)
    assert decide(AUTOMATIC, CHECKED, 20.0) == Decision(None, 900.0)
    assert decide(AUTOMATIC, GOOD, 899.0) == Decision(Task.CONFIRM)


def test_the_external_policy_waits_for_somebody():
    assert decide(EXTERNAL, TRIAL, 20.0) == Decision(Task.CHECK)
    assert decide(EXTERNAL, GOOD, 899.0) == Decision(None, 900.0)
    assert decide(EXTERNAL, GOOD, 900.0) == Decision(Task.ABORT_DEADLINE)


@pytest.mark.parametrize("rules", [AUTOMATIC, EXTERNAL, IC_OS])
def test_an_unhealthy_trial_is_aborted(rules: Rules):
    assert decide(rules, BAD, 20.0) == Decision(Task.ABORT_UNHEALTHY)
    # The cause that is found first is the one that is told.
    assert decide(rules, BAD, 5000.0) == Decision(Task.ABORT_UNHEALTHY)


@pytest.mark.parametrize("known", [TRIAL, CHECKED, GOOD])
def test_the_deadline_is_counted_from_boot(known: Known):
    for rules in (AUTOMATIC, EXTERNAL):
        assert decide(rules, known, 899.9).task is not Task.ABORT_DEADLINE
        assert decide(rules, known, 900.0) == Decision(Task.ABORT_DEADLINE)


@pytest.mark.parametrize("known", [CHECKED, GOOD])
def test_without_a_deadline_a_trial_waits_for_ever(known: Known):
    assert decide(IC_OS, known, 1e9) == NOTHING


@pytest.mark.parametrize("known", [TRIAL, CHECKED, GOOD, BAD])
@pytest.mark.parametrize("now_s", [20.0, 5000.0])
def test_while_somebody_is_at_work_nothing_is_decided(known: Known, now_s: float):
    held = known.but(inhibited=True)
    assert decide(AUTOMATIC, held, now_s) == NOTHING
    assert decide(AUTOMATIC, held.but(inhibited=False), now_s).task is not None or known is CHECKED


def test_what_failed_is_tried_again_after_a_while():
    failed = BAD.but(failed_s=50.0)
    assert decide(AUTOMATIC, failed, 50.0) == Decision(None, 50.0 + RETRY_S)
    assert decide(AUTOMATIC, failed, 50.0 + RETRY_S) == Decision(Task.ABORT_UNHEALTHY)


@pytest.mark.parametrize(("known", "now_s"), [(BAD, 20.0), (CHECKED, 900.0)])
def test_a_disk_that_hangs_does_not_keep_a_trial_alive(known: Known, now_s: float):
    assert decide(AUTOMATIC, known.but(hung=True), now_s) == Decision(Task.REBOOT)
    # Nor does a lock that was held since before the arrival.
    assert decide(AUTOMATIC, known.but(hung=True, arrived=False), now_s) == Decision(Task.REBOOT)


@pytest.mark.parametrize(("known", "now_s"), [(BAD, 20.0), (CHECKED, 900.0)])
def test_a_trial_that_would_be_the_same_again_is_not_rebooted_in_a_loop(known: Known, now_s: float):
    again = known.but(hung=True, repeats=True)
    assert decide(AUTOMATIC, again, now_s) == Decision(None, LONG_S)
    assert decide(AUTOMATIC, again, LONG_S) == Decision(Task.REBOOT)


@pytest.mark.parametrize("known", [BAD, CHECKED])
def test_a_trial_that_nobody_can_write_down_is_rebooted_in_the_end(known: Known):
    """GRUB could not write the block, and so would start the trial again; the daemon can't write it either."""
    stuck = known.but(repeats=True, asked_s=LONG_S - RETRY_S - 1, failed_s=LONG_S - RETRY_S - 1)
    assert decide(AUTOMATIC, stuck, LONG_S - 1).task in {Task.ABORT_UNHEALTHY, Task.ABORT_DEADLINE}
    assert decide(AUTOMATIC, stuck, LONG_S) == Decision(Task.REBOOT)
    # Where it has not been tried yet it is, however late.
    assert decide(AUTOMATIC, known.but(repeats=True), LONG_S).task is not Task.REBOOT
    assert decide(AUTOMATIC, stuck.but(inhibited=True), LONG_S) == NOTHING
    # After a reboot that does not come it is asked for again.
    asked = stuck.but(asked_s=LONG_S, failed_s=None)
    assert decide(AUTOMATIC, asked, LONG_S + 1) == Decision(None, LONG_S + AGAIN_S)
    assert decide(AUTOMATIC, asked, LONG_S + AGAIN_S).task is not None


def test_a_lock_that_somebody_holds_for_ever_does_not_stop_the_deadline():
    busy = TRIAL.but(arrived=False, failed_s=800.0)
    assert decide(AUTOMATIC, busy, 899.0) == Decision(Task.ARRIVE)
    assert decide(AUTOMATIC, busy, 900.0) == Decision(Task.ABORT_DEADLINE)
    assert decide(AUTOMATIC, busy.but(inhibited=True), 900.0) == NOTHING
    assert decide(AUTOMATIC, busy.but(state=STATES[Phase.IDLE]), 900.0) == Decision(Task.ARRIVE)
    # A daemon that starts late has not found it locked yet.
    assert decide(AUTOMATIC, busy.but(failed_s=None), 900.0) == Decision(Task.ARRIVE)


@pytest.mark.parametrize(("known", "now_s"), [(BAD, 20.0), (CHECKED, 900.0), (GOOD, 900.0)])
def test_a_lock_that_is_held_for_long_does_not_keep_a_trial_alive(known: Known, now_s: float):
    for arrived in (False, True):
        assert decide(EXTERNAL, known.but(lock_hangs=True, arrived=arrived), now_s) == Decision(Task.REBOOT)


def test_while_it_is_held_the_checks_run_and_the_arrival_is_tried_on():
    busy = TRIAL.but(arrived=False, lock_hangs=True)
    assert decide(AUTOMATIC, busy, 300.0) == Decision(Task.CHECK)
    for known in (CHECKED, GOOD):
        waits = known.but(arrived=False, lock_hangs=True)
        assert decide(AUTOMATIC, waits, 300.0) == Decision(Task.ARRIVE)
        assert decide(AUTOMATIC, waits.but(failed_s=300.0), 301.0) == Decision(None, 300.0 + RETRY_S)
        assert decide(AUTOMATIC, waits.but(inhibited=True), 5000.0) == Decision(Task.ARRIVE)
        # Not when it was aborted, and only the reboot is waited for.
        assert decide(AUTOMATIC, waits.but(asked_s=900.0), 901.0) == Decision(None, 900.0 + AGAIN_S)


def test_telling_waits_for_another_run():
    told_later = in_phase(Phase.IDLE, arrived=True, file_systems=FileSystems.SETTLED, put_off_s=50.0)
    assert decide(EXTERNAL, told_later, 51.0) == Decision(None, 50.0 + RETRY_S)
    assert decide(EXTERNAL, told_later, 50.0 + RETRY_S) == Decision(Task.TELL_BOOT)
    # All else goes on meanwhile.
    checked = CHECKED.but(file_systems=FileSystems.SETTLED, put_off_s=50.0)
    assert decide(EXTERNAL, checked.but(verdict=None), 51.0) == Decision(Task.CHECK)
    assert decide(EXTERNAL, checked, 51.0) == Decision(None, 50.0 + RETRY_S)
    assert decide(EXTERNAL._replace(deadline_s=60), checked, 51.0) == Decision(None, 60.0)


@pytest.mark.parametrize("known", [BAD, CHECKED, BAD.but(hung=True)])
def test_giving_up_is_done_once_even_if_it_could_not_be_written_down(known: Known):
    asked = known.but(asked_s=950.0)
    assert decide(AUTOMATIC, asked, 951.0) == Decision(None, 950.0 + AGAIN_S)
    assert decide(AUTOMATIC, asked, 950.0 + AGAIN_S).task is not None
    # One that failed, because another run held the lock, does not wait as long.
    failed = asked.but(failed_s=952.0)
    assert decide(AUTOMATIC, failed, 953.0) == Decision(None, 952.0 + RETRY_S)
    assert decide(AUTOMATIC, failed, 952.0 + RETRY_S).task is not None


class TestARebootThatDoesNotCome:
    def test_a_commit_gets_its_time(self):
        assert decide(AUTOMATIC, PENDING, 101.0) == Decision(None, 100.0 + OVERDUE_AFTER_S)

    def test_then_it_is_told_once(self):
        late = 100.0 + OVERDUE_AFTER_S
        assert decide(AUTOMATIC, PENDING, late) == Decision(Task.TELL_OVERDUE)
        assert decide(AUTOMATIC, PENDING.but(overdue_told=True), late + 1e6) == NOTHING

    def test_and_asked_for_again_if_so_configured(self):
        late, insist = 100.0 + OVERDUE_AFTER_S, AUTOMATIC._replace(reboot_again=True)
        assert decide(insist, PENDING, late) == Decision(Task.TELL_OVERDUE)
        told = PENDING.but(overdue_told=True)
        assert decide(insist, told, late) == Decision(Task.REBOOT)
        asked = told.but(asked_s=late)
        assert decide(insist, asked, late + 1) == Decision(None, late + AGAIN_S)
        assert decide(insist, asked, late + AGAIN_S) == Decision(Task.REBOOT)

    def test_but_not_while_somebody_is_at_work(self):
        told = PENDING.but(overdue_told=True, inhibited=True)
        assert decide(AUTOMATIC._replace(reboot_again=True), told, 1e6) == NOTHING

    def test_and_never_when_grub_did_not_try_the_commit(self):
        stale = PENDING.but(stale=True)
        assert not stale.memory.awaits_reboot(stale.seen)
        assert decide(AUTOMATIC._replace(reboot_again=True), stale, 1e6) == NOTHING

    def test_what_the_daemon_gave_up_goes_down_whatever_is_configured(self):
        aborted = TRIAL.but(aborted=True, asked_s=900.0, waits_since_s=900.0)
        assert decide(IC_OS, aborted, 901.0) == Decision(None, 900.0 + AGAIN_S)
        assert decide(IC_OS, aborted, 900.0 + AGAIN_S) == Decision(Task.TELL_OVERDUE)
        assert decide(IC_OS, aborted.but(overdue_told=True), 900.0 + AGAIN_S) == Decision(Task.REBOOT)

    def test_one_that_could_not_be_asked_for_is_asked_for_soon(self):
        aborted = TRIAL.but(aborted=True, asked_s=900.0, waits_since_s=900.0, failed_s=901.0)
        assert decide(IC_OS, aborted, 901.0) == Decision(None, 901.0 + RETRY_S)
        told = aborted.but(overdue_told=True)
        assert decide(IC_OS, told, 901.0 + RETRY_S) == Decision(Task.REBOOT)

    def test_what_somebody_else_gave_up_is_left_to_them(self):
        aborted = GOOD.but(aborted=True, waits_since_s=100.0)
        assert decide(AUTOMATIC, aborted, 101.0) == Decision(None, 100.0 + OVERDUE_AFTER_S)
        assert decide(AUTOMATIC, aborted.but(overdue_told=True), 1e6) == NOTHING

    def test_what_an_earlier_trial_left_is_no_reason_to_wait(self):
        stale = GOOD.but(aborted=True, stale_trial=True)
        assert not stale.memory.awaits_reboot(stale.seen)
        assert decide(AUTOMATIC, stale, 20.0) == Decision(Task.CONFIRM)


class TestWithoutABlock:
    def test_damage_is_told_once(self):
        damaged = in_phase(None, damaged=True)
        assert decide(AUTOMATIC, damaged, 5.0) == Decision(Task.TELL_DAMAGED)
        assert decide(AUTOMATIC, damaged.but(damage_told=True), 5.0) == NOTHING

    def test_a_trial_that_never_saw_it_ends_at_the_deadline(self):
        blind = in_phase(None, grub_starts_trial=True)
        assert decide(AUTOMATIC, blind, 899.0) == Decision(None, 900.0)
        assert decide(AUTOMATIC, blind, 900.0) == Decision(Task.REBOOT)
        assert decide(AUTOMATIC, blind.but(asked_s=900.0), 901.0) == Decision(None, 900.0 + AGAIN_S)
        assert decide(AUTOMATIC, blind.but(asked_s=900.0), 900.0 + AGAIN_S) == Decision(Task.REBOOT)

    def test_one_that_lost_it_and_is_unhealthy_ends_at_once(self):
        bad = in_phase(None, grub_starts_trial=True, verdict=Verdict.BAD)
        for rules in (AUTOMATIC, IC_OS):
            assert decide(rules, bad, 20.0) == Decision(Task.REBOOT)
            assert decide(rules, bad.but(asked_s=20.0), 21.0) == Decision(None, 20.0 + AGAIN_S)
        assert decide(AUTOMATIC, bad.but(inhibited=True), 20.0) == NOTHING
        assert decide(AUTOMATIC, bad.but(grub_starts_trial=False), 20.0) == NOTHING
        assert decide(AUTOMATIC, bad.but(repeats=True), 20.0) == Decision(None, LONG_S)

    def test_unless_there_is_none_or_somebody_is_at_work(self):
        blind = in_phase(None, grub_starts_trial=True)
        assert decide(IC_OS, blind, 1e9) == NOTHING
        assert decide(AUTOMATIC, blind.but(inhibited=True), 1e9) == NOTHING

    def test_a_boot_that_had_a_block_once_stays(self):
        assert decide(AUTOMATIC, in_phase(None, arrived=True), 1e9) == NOTHING


def test_no_decision_wakes_in_the_past():
    """Whatever is known, the loop sleeps until a moment that is still to come."""
    times = (None, 0.0, 100.0, 899.0, 905.0)
    cases = itertools.product(STATES, (False, True), (None, *Verdict), times, times, (AUTOMATIC, EXTERNAL, IC_OS))
    for phase, aborted, verdict, since_s, asked_s, rules in cases:
        known = in_phase(
            phase,
            arrived=True,
            grub_starts_trial=phase is None,
            aborted=aborted,
            verdict=verdict,
            overdue_told=since_s == 0.0,
            waits_since_s=since_s,
            asked_s=asked_s,
        )
        decision = decide(rules, known, 950.0)
        assert decision.wake_s is None or decision.wake_s > 950.0, known
