"""What became of earlier updates: which releases were tried here and did not stay, or were taken back by hand.

Record, history and block tell it, and beside them what was written down before a commit, so that nothing is tried twice
where they are gone.
"""

from contextlib import suppress

from manageboot import errors
from manageboot.boot import fallback, floor
from manageboot.boot.floor import Floor, Installed
from manageboot.boot.node import Node
from manageboot.boot.record import now
from manageboot.config import Config
from manageboot.events import history
from manageboot.events.events import Event
from manageboot.protocol import Content, Phase
from manageboot.unattended.memory import Known, Memory, SetAside

CANCELLED = "cancelled"
UNKNOWN = "unknown"


def noted(config: Config, node: Node, memory: Memory) -> Memory:
    """Return what is to be remembered now. Writes nothing.

    Raises:
        FloorDamagedError, DeviceError, NotPermittedError: nobody knows what the slots hold.
    """
    known = floor.load(config)
    # What was confirmed since, or is older than that, is not taken anyway.
    fresh = memory._replace(
        set_aside=tuple(one for one in memory.set_aside if one.release.release_index > known.release_index)
    )
    gone = _did_not_stay(config, node, memory, known)
    if gone is not None and gone.release.release_index > known.release_index:
        fresh = fresh.with_set_aside(gone)
    last = fresh.committed
    if last is not None and (fresh.is_set_aside(last.sha256) or last.release_index <= known.release_index):
        fresh = fresh._replace(committed=None)
    return fresh


def waiting(node: Node, known: Floor) -> Known | None:
    """Return the release that is installed and was not committed; None: there is none."""
    holds = known.slots.get(node.booted.other)
    entry = node.records.get(node.booted.other)
    if holds is None or entry is None or entry.content is not Content.INSTALLED:
        return None
    return _known(holds) if entry.transaction == holds.transaction else None


def own_transaction(node: Node, memory: Memory) -> str | None:
    """Return the installation in the passive slot, if an update has made it and nobody has committed it."""
    entry = node.records.get(node.booted.other)
    if entry is None or entry.content is not Content.INSTALLED:
        return None
    is_chosen = memory.chosen is not None and entry.source_sha256 == memory.chosen.sha256
    return entry.transaction if is_chosen or entry.transaction == memory.replaced else None


def held_transaction(config: Config, node: Node) -> str | None:
    """Return which installation the passive slot is of: whatever became of it may be forgotten."""
    holds = floor.load(config).slots.get(node.booted.other)
    return None if holds is None else holds.transaction


def _did_not_stay(config: Config, node: Node, memory: Memory, known: Floor) -> SetAside | None:
    if node.environment.state is None:
        return None
    passive = node.booted.other
    holds, entry = known.slots.get(passive), node.records.get(passive)
    is_of_it = holds is not None and (entry is None or entry.transaction in {None, holds.transaction})
    if holds is not None and is_of_it and holds.transaction != memory.lifted and not memory.is_set_aside(holds.sha256):
        if (fell_back := fallback.detect(node)) is not None:
            return SetAside(_known(holds), fell_back.cause.value, now())
        if _was_cancelled(config, holds.transaction):
            return SetAside(_known(holds), CANCELLED, now())
    last = memory.committed
    if last is None or memory.is_set_aside(last.sha256) or node.state.phase is not Phase.IDLE:
        return None
    runs = known.slots.get(node.booted)
    stays = runs is not None and runs.sha256 == last.sha256
    return None if stays or waiting(node, known) == last else SetAside(last, UNKNOWN, now())


def _was_cancelled(config: Config, transaction: str) -> bool:
    # What can't be read tells nothing of it.
    with suppress(errors.ManagebootError):
        name = Event.CANCELLED.name.lower()
        return any(e.event == name and e.transaction == transaction for e in history.read(config).entries)
    return False


def _known(holds: Installed) -> Known:
    return Known(holds.version, holds.release_index, holds.sha256)
