"""Why the node is back in the old slot: what block, record and kernel command line tell together. Pure.

The old slot's record knows of the commit; the block has what GRUB and the agent in the trial left. Neither needs the
other: the record may be gone, and a stock agent or GRUB leaves nothing in the block.
"""

from enum import StrEnum
from typing import NamedTuple

from manageboot.boot.markers import Markers, TrialMarker
from manageboot.boot.node import Node
from manageboot.boot.record import SlotRecord
from manageboot.protocol import Content, Cycle, Phase, Slot
from manageboot.system import console


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
    Cause.DIED_EARLY: "GRUB started it, but its userspace did not come up, or did not report it",
    Cause.DIED_LATER: "its userspace was up, and it went down without a confirm",
    Cause.UNHEALTHY: "it failed its health checks",
    Cause.DEADLINE: "it was not confirmed in time",
    Cause.BY_HAND: "it was aborted by hand",
    Cause.UNKNOWN: "it was not confirmed, and the grub.cfg of this node does not record why",
}

WITHOUT_GRUB = {
    Cause.NEVER_STARTED: "the node was started since, without GRUB and in the old slot: nobody records why",
    Cause.UNKNOWN: "it was not confirmed, or its only try was lost before it ran: who starts this node records nothing",
}
"""Those that are not GRUB's matter where no GRUB started the kernel, as on a host that boots its guest directly."""

_BY_TRIAL = {
    TrialMarker.USERSPACE: Cause.DIED_LATER,
    TrialMarker.UNHEALTHY: Cause.UNHEALTHY,
    TrialMarker.DEADLINE: Cause.DEADLINE,
    TrialMarker.BY_HAND: Cause.BY_HAND,
}


class Fallback(NamedTuple):
    """A trial that did not stay."""

    slot: Slot
    cause: Cause
    commit: str | None = None
    """What tells its commit from others: its nonce, or else its time; None: nothing does."""
    by_grub: bool = True
    """Whether a GRUB started the kernel that runs now."""

    @property
    def text(self) -> str:
        """The cause in words."""
        return TEXTS[self.cause] if self.by_grub else WITHOUT_GRUB.get(self.cause, TEXTS[self.cause])


def detect(node: Node) -> Fallback | None:
    """Say why the other slot, which was committed, is not the booted one; None: nothing fell back.

    It is told until the next installation voids the record, or the next commit the markers.
    """
    found = _detect(node)
    if found is not None:
        found = found._replace(by_grub=node.by_grub)
    if console.debug:
        console.debug("fallback: %s; in the block there is %s", found or "none", node.environment.markers)
    return found


def _detect(node: Node) -> Fallback | None:
    if node.environment.state is None:
        return None
    state, markers = node.state, node.environment.markers
    if node.offline:
        # What became of a commit since, only the block tells: the records for an offline disk know no more.
        over = node.environment.state.cycle is Cycle.FAILSAFE_CHECK and state.phase is Phase.IDLE
        return Fallback(state.passive, _cause(node)) if over and not node.overwrites_trusted else None
    entry = node.records.get(state.passive)
    unwritable = node.grub is not None and node.grub.fault == "unwritable"
    if state.phase is Phase.PENDING:
        return Fallback(state.passive, Cause.NEVER_STARTED, _commit(node)) if _passed_over(entry, node) else None
    # GRUB went back and could not write that down: the block still names the trial.
    unrecorded = state.phase is Phase.CONFLICT and state.block.cycle is Cycle.FAILSAFE_CHECK and unwritable
    if (state.phase is Phase.IDLE and _went_back(entry, markers)) or unrecorded:
        return Fallback(state.passive, _cause(node), _commit(node))
    return None


def _passed_over(entry: SlotRecord | None, node: Node) -> bool:
    """Say whether there was a boot since the commit that waits, and GRUB did not start it.

    What record and kernel command line tell of a commit before that one proves nothing.
    """
    markers, grub = node.environment.markers, node.grub
    noted = entry is not None and entry.committed_in is not None and (entry.nonce or "") == markers.nonce
    here = noted and entry is not None and entry.committed_in == node.boot_id
    # Without /proc no boot has a name.
    earlier = noted and not here and node.boot_id is not None
    match "" if grub is None else grub.fault:
        case "menu":
            return False
        case "unwritable" if grub is not None and grub.nonce == markers.nonce:
            return grub.nonce != "" or not here
        case "unwritable":
            # Of another commit; or by an earlier version of the script, which did not say of which.
            return earlier
    # A nonce that GRUB has acknowledged was there before whoever committed since.
    return earlier and not markers.acknowledged


def _went_back(entry: SlotRecord | None, markers: Markers) -> bool:
    """Say whether the last trial was one of the slot with this record, and whether that is still to be told.

    GRUB writes `mb_fallback` when it goes back, and every verb that writes the block removes it. So where it is, it is
    of the last trial. An installation leaves the block alone; its record has the nonce that the block had then.
    """
    if entry is None:
        return markers.fallback != ""
    match entry.content:
        case Content.COMMITTED:
            return markers.fallback != "" or not _outlived(entry, markers)
        case Content.CONFIRMED:
            # A rollback that did not stay. A script that does not write mb_fallback does not clear mb_trial either.
            return markers.fallback != "" or (entry.committed_in is not None and markers.trial != "")
        case Content.INSTALLED:
            # A commit whose record was lost, or that was to be taken back.
            return markers.fallback != "" and markers.nonce != (entry.nonce or "")
        case _:
            return False


def _outlived(entry: SlotRecord, markers: Markers) -> bool:
    """Say whether GRUB tried another commit after that of a record, and that one was confirmed: the record is behind.

    So it is where the power was cut between the block and the record of a confirm. A commit without a nonce left no
    acknowledgement either, so any that is there came later.
    """
    return markers.nonce == "" and markers.ack not in {"", entry.nonce}


def _commit(node: Node) -> str | None:
    entry = node.records.get(node.booted.other)
    nonce = node.environment.markers.nonce or None
    if entry is None:
        return nonce
    if entry.content is Content.COMMITTED:
        return entry.nonce or nonce or entry.committed
    return nonce or entry.committed_in


def _cause(node: Node) -> Cause:
    markers = node.environment.markers
    entry = node.records.get(node.booted.other)
    committed = entry is not None and entry.content is Content.COMMITTED
    of_another = committed and entry is not None and entry.nonce not in {None, markers.nonce}
    # A later commit may leave no nonce, as an offline one; the shipped script has cleared mb_trial when that was tried.
    told = node.grub is not None and markers.nonce == "" and markers.trial != ""
    if of_another and not told:
        # The block was made anew since, or another agent committed: its markers are not of this trial.
        return Cause.UNKNOWN
    if markers.fallback == "unloadable":
        return Cause.UNLOADABLE
    if markers.trial in tuple(TrialMarker):
        return _BY_TRIAL[TrialMarker(markers.trial)]
    return Cause.DIED_EARLY if markers.acknowledged else Cause.UNKNOWN
