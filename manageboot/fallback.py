"""Why the node is back in the old slot: what block, record and kernel command line tell together. Pure.

The old slot's record knows of the commit; the block has what GRUB and the agent in the trial left. Neither needs the
other: the record may be gone, and a stock agent or GRUB leaves nothing in the block.
"""

from enum import StrEnum
from typing import NamedTuple

from manageboot.node import Node
from manageboot.protocol import Content, Cycle, Phase, Slot
from manageboot.record import SlotRecord
from manageboot.traces import Traces, Trial


class Cause(StrEnum):
    """What became of a trial that did not stay."""

    NEVER_STARTED = "never-started"
    UNLOADABLE = "unloadable"
    DIED_EARLY = "died-before-userspace"
    DIED_LATER = "died-later"
    UNHEALTHY = "unhealthy"
    DEADLINE = "deadline"
    BY_HAND = "by-hand"
    UNKNOWN = "unknown"


TEXTS = {
    Cause.NEVER_STARTED: "it was never started: GRUB could not write the environment block, or reads another one",
    Cause.UNLOADABLE: "GRUB could not load its kernel or initrd",
    Cause.DIED_EARLY: "GRUB started it, and it died before userspace was up, or nothing there said so",
    Cause.DIED_LATER: "its userspace was up, and it went down without a confirm",
    Cause.UNHEALTHY: "it failed its health checks",
    Cause.DEADLINE: "it was not confirmed in time",
    Cause.BY_HAND: "it was given up by hand",
    Cause.UNKNOWN: "it did not confirm, and the grub.cfg of this node leaves no trace of why",
}

_BY_TRIAL = {
    Trial.USERSPACE: Cause.DIED_LATER,
    Trial.UNHEALTHY: Cause.UNHEALTHY,
    Trial.DEADLINE: Cause.DEADLINE,
    Trial.BY_HAND: Cause.BY_HAND,
}


class Fallback(NamedTuple):
    """A trial that did not stay."""

    slot: Slot
    cause: Cause
    commit: str | None = None
    """What tells its commit from others: its nonce, or else its time; None: nothing does."""

    @property
    def text(self) -> str:
        """The cause in words."""
        return TEXTS[self.cause]


def explain(node: Node) -> Fallback | None:
    """Say why the other slot, which was committed, is not the booted one; None: nothing fell back.

    It is told until the next installation voids the record, or the next commit the traces.
    """
    if node.environment.state is None:
        return None
    state, traces = node.state, node.environment.traces
    if node.stopped:
        # What became of a commit since, only the block tells: the records of outside know no more.
        over = node.environment.state.cycle is Cycle.FAILSAFE_CHECK and state.phase is Phase.IDLE
        return Fallback(state.passive, _cause(node)) if over else None
    entry = node.records.get(state.passive)
    unwritable = node.trace is not None and node.trace.fault == "unwritable"
    if state.phase is Phase.PENDING:
        rebooted = entry is not None and entry.committed_in not in {None, node.boot_id}
        return Fallback(state.passive, Cause.NEVER_STARTED, _commit(node)) if rebooted or unwritable else None
    # GRUB went back and could not write that down: the block still names the trial.
    unrecorded = state.phase is Phase.CONFLICT and state.block.cycle is Cycle.FAILSAFE_CHECK and unwritable
    if state.phase is not Phase.IDLE and not unrecorded:
        return None
    if entry is not None and entry.content not in {Content.COMMITTED, Content.CONFIRMED}:
        # Something else was installed since.
        return None
    committed = entry is not None and entry.content is Content.COMMITTED and not _outlived(entry, traces)
    if not (committed or traces.fallback or unrecorded):
        return None
    return Fallback(state.passive, _cause(node), _commit(node))


def _outlived(entry: SlotRecord, traces: Traces) -> bool:
    """Say whether GRUB tried another commit after that of a record, and that one was confirmed: the record is behind.

    So it is where the power was cut between the block and the record of a confirm.
    """
    return entry.nonce is not None and traces.nonce == "" and traces.ack not in {"", entry.nonce}


def _commit(node: Node) -> str | None:
    entry = node.records.get(node.booted.other)
    nonce = node.environment.traces.nonce or None
    return nonce if entry is None else entry.nonce or nonce or entry.committed


def _cause(node: Node) -> Cause:
    traces = node.environment.traces
    entry = node.records.get(node.booted.other)
    if entry is not None and entry.nonce is not None and entry.nonce != traces.nonce:
        # The block was made anew since, or another agent committed: its traces are not of this trial.
        return Cause.UNKNOWN
    if traces.fallback == "unloadable":
        return Cause.UNLOADABLE
    if traces.trial in tuple(Trial):
        return _BY_TRIAL[Trial(traces.trial)]
    return Cause.DIED_EARLY if traces.acknowledged else Cause.UNKNOWN
