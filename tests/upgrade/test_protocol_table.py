"""Every cell of the protocol's table, spelled out a second time by hand."""

import re
from itertools import product
from pathlib import Path

import pytest

import manageboot
from manageboot import errors
from manageboot.protocol import TABLE, BlockState, BootState, Content, Cycle, Phase, Slot, Verb, describe, transition

INSTALL, COMMIT, CANCEL, CONFIRM, ROLLBACK, ABORT, BOOTLOADER_INSTALL = Verb
IDLE, PENDING, TRIAL, CONFLICT = Phase

# The phase for (cycle, booted slot is the one that the block names).
PHASES = {
    (Cycle.INSTALL, True): IDLE,
    (Cycle.INSTALL, False): CONFLICT,
    (Cycle.STABLE, True): IDLE,
    (Cycle.STABLE, False): CONFLICT,
    (Cycle.FIRST_BOOT, True): TRIAL,
    (Cycle.FIRST_BOOT, False): PENDING,
    (Cycle.FAILSAFE_CHECK, True): TRIAL,
    (Cycle.FAILSAFE_CHECK, False): CONFLICT,
}

# What the block holds afterwards, as (slot relative to the booted one, cycle); "same": it is left alone.
SAME = "same"
ARMED = ("passive", Cycle.FIRST_BOOT)
TRUSTED = ("booted", Cycle.STABLE)
ABORTED = ("booted", Cycle.FAILSAFE_CHECK)

# (phase, verb) -> for each content of the passive slot's record: the block afterwards, or the refusal.
FOR_ALL = {
    (IDLE, INSTALL): SAME,
    (IDLE, CANCEL): SAME,
    (IDLE, CONFIRM): TRUSTED,
    (PENDING, INSTALL): errors.CommitPendingError,
    (PENDING, CANCEL): TRUSTED,
    (PENDING, CONFIRM): SAME,
    (TRIAL, INSTALL): errors.TrialError,
    (TRIAL, COMMIT): errors.TrialError,
    (TRIAL, CANCEL): errors.TrialError,
    (TRIAL, CONFIRM): TRUSTED,
    (TRIAL, ROLLBACK): ABORTED,
    (IDLE, ABORT): errors.NotOnTrialError,
    (PENDING, ABORT): errors.NotOnTrialError,
    (TRIAL, ABORT): ABORTED,
    (IDLE, BOOTLOADER_INSTALL): SAME,
    (PENDING, BOOTLOADER_INSTALL): errors.CommitPendingError,
    (TRIAL, BOOTLOADER_INSTALL): errors.TrialError,
    (CONFLICT, INSTALL): errors.ConflictError,
    (CONFLICT, COMMIT): errors.ConflictError,
    (CONFLICT, CANCEL): errors.ConflictError,
    (CONFLICT, CONFIRM): errors.ConflictError,
    (CONFLICT, ROLLBACK): errors.ConflictError,
    (CONFLICT, ABORT): errors.ConflictError,
    (CONFLICT, BOOTLOADER_INSTALL): errors.ConflictError,
}
BY_RECORD = {
    (IDLE, COMMIT, Content.VOID): errors.NothingInstalledError,
    (IDLE, COMMIT, Content.INSTALLING): errors.NothingInstalledError,
    (IDLE, COMMIT, Content.INSTALLED): ARMED,
    (IDLE, COMMIT, Content.COMMITTED): errors.NothingInstalledError,
    (IDLE, COMMIT, Content.CONFIRMED): errors.NothingInstalledError,
    (IDLE, ROLLBACK, Content.VOID): errors.NoWayBackError,
    (IDLE, ROLLBACK, Content.INSTALLING): errors.NoWayBackError,
    (IDLE, ROLLBACK, Content.INSTALLED): errors.NoWayBackError,
    (IDLE, ROLLBACK, Content.COMMITTED): errors.NoWayBackError,
    (IDLE, ROLLBACK, Content.CONFIRMED): ARMED,
    (PENDING, COMMIT, Content.VOID): SAME,
    (PENDING, COMMIT, Content.INSTALLING): errors.CommitPendingError,
    (PENDING, COMMIT, Content.INSTALLED): SAME,
    (PENDING, COMMIT, Content.COMMITTED): SAME,
    (PENDING, COMMIT, Content.CONFIRMED): SAME,
    (PENDING, ROLLBACK, Content.VOID): errors.CommitPendingError,
    (PENDING, ROLLBACK, Content.INSTALLING): errors.CommitPendingError,
    (PENDING, ROLLBACK, Content.INSTALLED): errors.CommitPendingError,
    (PENDING, ROLLBACK, Content.COMMITTED): errors.CommitPendingError,
    (PENDING, ROLLBACK, Content.CONFIRMED): SAME,
}
REBOOTS = {(IDLE, COMMIT), (IDLE, ROLLBACK), (PENDING, COMMIT), (PENDING, ROLLBACK), (TRIAL, ROLLBACK), (TRIAL, ABORT)}


def states():
    return [BootState(booted, BlockState(named, cycle)) for booted, named, cycle in product(Slot, Slot, Cycle)]


def test_expectations_cover_the_table_and_nothing_else():
    expected = set(FOR_ALL) | {(phase, verb) for phase, verb, _ in BY_RECORD}
    assert expected == set(TABLE) == set(product(Phase, Verb))


@pytest.mark.parametrize("content", Content)
@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize(
    "state", states(), ids=lambda state: f"{state.booted}-{state.block.alternative}-{state.block.cycle}"
)
def test_cell(state: BootState, verb: Verb, content: Content):
    phase = PHASES[state.block.cycle, state.booted is state.block.alternative]
    assert state.phase is phase
    expected = FOR_ALL.get((phase, verb)) or BY_RECORD[phase, verb, content]
    if isinstance(expected, type):
        with pytest.raises(expected, match=f"^cannot {verb}") as caught:
            transition(state, verb, content)
        assert caught.value.exit_code == 69
        return
    found = transition(state, verb, content)
    after = state.block if found.block is None else found.block
    if expected == SAME:
        assert after == state.block
    else:
        slot, cycle = expected
        assert after == BlockState(state.booted if slot == "booted" else state.booted.other, cycle)
    assert found.reboots is ((phase, verb) in REBOOTS)
    assert found.warns is ((phase, verb) == (PENDING, CONFIRM))


# That another machine owns the disk is known before there is a state; and who names a slot of a stopped system asks
# more than the table knows: what comes first there is refused with the same words.
BESIDE_THE_TABLE = {"Conflict": {"begin.py"}, "CommitPending": {"offline.py"}, "Trial": {"offline.py"}}


@pytest.mark.parametrize("refusal", ["CommitPending", "Trial", "Conflict", "NoWayBack"])
def test_what_state_and_verb_refuse_is_refused_by_the_table_alone(refusal: str):
    raising = {
        path.name
        for path in Path(manageboot.__path__[0]).rglob("*.py")
        if re.search(rf"\b{refusal}Error[(,)}}]", path.read_text())
    }
    assert raising - {"errors.py"} == {"protocol.py"} | BESIDE_THE_TABLE.get(refusal, set())


@pytest.mark.parametrize("state", states())
def test_a_transition_that_changes_nothing_writes_nothing(state: BootState):
    for verb, content in product(Verb, Content):
        try:
            found = transition(state, verb, content)
        except errors.RefusedError:
            continue
        assert found.block != state.block


@pytest.mark.parametrize("slot", Slot)
def test_next_is_what_grub_boots(slot: Slot):
    assert {cycle: BlockState(slot, cycle).next for cycle in Cycle} == {
        Cycle.INSTALL: slot,
        Cycle.STABLE: slot,
        Cycle.FIRST_BOOT: slot,
        Cycle.FAILSAFE_CHECK: slot.other,
    }


def test_only_a_trial_that_grub_did_not_record_is_reported_so():
    unrecorded = [state for state in states() if state.grub_wrote_nothing]
    assert unrecorded == [BootState(slot, BlockState(slot, Cycle.FIRST_BOOT)) for slot in Slot]


def test_a_conflict_says_what_command_line_and_block_say():
    text = describe(BootState(Slot.A, BlockState(Slot.B, Cycle.STABLE)))
    assert "slot A is booted" in text
    assert "boot_alternative=B, boot_cycle=stable" in text
