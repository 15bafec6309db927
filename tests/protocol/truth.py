"""What really became of the last commit or rollback, whatever the traces say: the account that the agent is judged by.

It goes by what happened, the events of the walk, and by the two variables that decide; never by what GRUB and the agent
leave for each other to tell it.
"""

from typing import NamedTuple

from support.blocks import phase_of, variables

Told = tuple[str, str] | None
"""A slot that did not stay, and the cause; None: there is none."""

ARMED, PASSED_OVER, STARTED, USERSPACE, UNLOADABLE = "armed", "passed over", "started", "userspace", "unloadable"
LATE = "passed over, and noted since"
UNSEEN = "confirmed, and GRUB had not written that it starts it"
ABORTING = {"rollback": "by_hand", "deadline": "deadline"}
"""What gives a trial up, and the word for it."""

CAUSES = {
    STARTED: "died-before-userspace",
    USERSPACE: "died-later",
    UNLOADABLE: "unloadable",
    "by_hand": "by-hand",
    "deadline": "deadline",
}


class Truth(NamedTuple):
    """The last commit or rollback that was not confirmed, taken back or followed by an installation."""

    slot: str = ""
    """The slot that was armed; empty: there is none."""
    stage: str = ""
    noted: bool = True
    """Whether it is in the record of the slot that it was asked for in; where there is none, whether the confirm is."""
    up: bool = False
    """Whether userspace was up in any of its tries."""


NOTHING = Truth()


def after_verb(
    truth: Truth | None, verb: str, *, phase: str | None, passive: str, seen: bool, cycle: str | None, wrote: bool,
    noted: bool, end: bool,
) -> Truth | None:  # fmt: skip
    """Say what is true after a step of a verb that was not refused.

    Args:
        truth: what was; None: nobody knows.
        verb: the verb.
        phase: where the node was before it.
        passive: the slot that is not booted.
        seen: whether GRUB has written that it starts the trial.
        cycle: what the block says after the step.
        wrote: whether the block is another one now.
        noted: whether the records are others now.
        end: whether it is the last step.
    """
    match verb, phase:
        case (("upgrade-commit" | "rollback"), "idle"):
            # A verb that returns has noted it; a rollback did so first.
            return Truth(passive, ARMED, noted or end or verb == "rollback") if cycle == "first_boot" else truth
        case (("upgrade-commit" | "rollback"), "pending"):
            stage = LATE if truth is not None and truth.stage == PASSED_OVER else ARMED
            return truth and (Truth(truth.slot, stage) if noted else truth)
        case "upgrade-cancel", "pending":
            if cycle != "first_boot":
                return NOTHING
            return truth and (truth._replace(noted=False) if noted else truth)
        case (("upgrade-cancel" | "upgrade-install"), "idle"):
            return NOTHING if noted else truth
        case "confirm", "trial":
            return Truth("", "" if seen else UNSEEN, noted or end) if cycle == "stable" else truth
        case "confirm", "idle":
            return NOTHING if noted and truth is not None and truth.slot == "" else truth
        case (("rollback" | "deadline"), "trial"):
            return truth and (truth._replace(stage=ABORTING[verb]) if wrote or end else truth)
        case "arrived", "trial":
            return truth and (truth._replace(stage=USERSPACE, up=True) if wrote and truth.stage == STARTED else truth)
    return truth


def after_boot(truth: Truth | None, before: bytes | None, booted: str | None, after: bytes | None) -> Truth | None:
    """Say what is true after GRUB found a block, booted a slot (None: it is stuck), and left a block."""
    found, left = variables(before), variables(after)
    cycle, slot = found.get("boot_cycle"), found.get("boot_alternative", "A")
    if truth is None or cycle not in {"first_boot", "failsafe_check"}:
        return truth
    went_back = left.get("boot_cycle") == "stable"
    tries = cycle == "first_boot" or is_left(found)
    if booted == slot:
        # What stands in for a slot that can't be loaded is no try.
        starts = cycle == "first_boot" or (after != before and not went_back)
        return truth._replace(stage=STARTED) if starts and not went_back else truth
    if booted is None or went_back:
        return truth._replace(stage=UNLOADABLE) if tries else truth
    return truth._replace(stage=PASSED_OVER) if cycle == "first_boot" else truth


def is_left(found: dict[str, str]) -> bool:
    """Whether a block leaves a trial that was started another boot."""
    counted = found.get("mb_nonce", "") == found.get("mb_ack") and found.get("mb_tries", "") in set("2345")
    return counted and found.get("mb_tried", "") < found["mb_tries"]


def acceptable(
    truth: Truth | None, *, booted: str, block: bytes | None, witness: bytes | None, arguments: str, shipped: bool
) -> set[Told] | None:
    """Say what the agent may answer to the question what fell back, and why; None: whatever it likes."""
    phase = phase_of(booted, block, witness)
    if truth is None or phase is None:
        return None
    if truth.slot in {"", booted}:
        # Of a confirm that is not in its record only GRUB's acknowledgement tells.
        passive = "B" if booted == "A" else "A"
        told = truth.noted or (shipped and truth.stage != UNSEEN)
        return {None} if told else {None, (passive, "unknown")}
    fault = next((word[17:] for word in arguments.split() if word.startswith("manageboot.fault=")), "")
    if phase == "pending":
        noted = truth.stage == PASSED_OVER and truth.noted and fault != "menu"
        known = noted or (truth.stage in {PASSED_OVER, LATE} and fault == "unwritable")
        return {(truth.slot, "never-started") if known else None}
    unrecorded = variables(block).get("boot_cycle") == "failsafe_check" and fault == "unwritable"
    if phase != "idle" and not unrecorded:
        return {None}
    causes: set[Told] = {(truth.slot, CAUSES[truth.stage])}
    if shipped:
        return causes
    # GRUB leaves no word there, so what the agent did not write in the trial nobody knows.
    by_the_agent = truth.stage not in {STARTED, UNLOADABLE}
    if by_the_agent and truth.noted:
        return causes
    # It clears nothing between two tries either.
    if not by_the_agent:
        causes = {(truth.slot, CAUSES[USERSPACE])} if truth.up else set()
    return causes | {None, (truth.slot, "unknown")}
