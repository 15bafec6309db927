"""Looks at the node and at its channel, and says what of it a decision depends on."""

import os
import time
from typing import NamedTuple

from manageboot.boot import floor, ownership
from manageboot.boot.floor import Floor
from manageboot.boot.node import Node, running_version
from manageboot.boot.ownership import Ownership
from manageboot.channel import channel, clock, kept, turn
from manageboot.channel.channel import Offer, Wanted
from manageboot.channel.kept import Kept
from manageboot.config import Config
from manageboot.protocol import Content
from manageboot.system import lock
from manageboot.unattended.decision import Hindrance, Observation, Offered, Passive, Window
from manageboot.unattended.lastrun import LastRun
from manageboot.unattended.memory import Known, Memory
from manageboot.unattended.outcome import own_transaction, waiting
from manageboot.unattended.window import Opening
from manageboot.upgrade import inhibit

SHUTDOWN = "/run/systemd/shutdown/scheduled"
"""There while a shutdown is scheduled. Source: systemd's logind."""


class Found(NamedTuple):
    """What the channel has for this node."""

    offered: Offered
    release: Known | None = None
    """What to take; or what would be taken if it were this node's turn, or had not been set aside."""


def at_node(
    config: Config,
    node: Node,
    memory: Memory,
    found: Found | None,
    opening: Opening | None,
    before: LastRun | None,
) -> Observation:
    """Look at the node.

    Args:
        config: the settings.
        node: one look at it.
        memory: what is known of earlier updates.
        found: what the channel has; None: nobody has looked yet.
        opening: the maintenance window.
        before: how the run before ended; None: it does not count.
    """
    return Observation(
        None if node.environment.state is None else node.state.phase,
        _hindrance(config),
        None if found is None else found.offered,
        _passive(config, node, memory, found, before),
        _window(config, opening),
    )


def at_channel(config: Config, node: Node, memory: Memory) -> Found:
    """Look for a release, and keep the metadata that was found good: nobody can show older metadata later.

    Raises:
        DataError, InputError, RefusedError, ConfigError: as `channel.offers`.
        CreateError, DeviceError, LockedError, NotPermittedError: the metadata can't be kept.
    """
    before = kept.load(config)

    def keep(state: Kept) -> None:
        with lock.held(config.state.lock, "update", brief=True):
            # Whoever held it until now may have seen newer metadata.
            if kept.load(config) == before:
                kept.store(config, state)

    found = channel.offers(config, node, Wanted(), keep=keep)
    found.close()
    moment = clock.now(config.channel.root, kept.load(config))
    tried = _tried(config, node, memory)

    def is_taken(offer: Offer) -> bool:
        return turn.of(offer.rollout, offer.sha256, moment).has_come

    newer = [offer for offer in found.offers if _is_newer(offer, node, found.floor)]
    fitting = [offer for offer in newer if offer.refused is None]
    untried = [offer for offer in fitting if offer.sha256 != tried and not memory.is_set_aside(offer.sha256)]
    for offers, offered in (
        ([offer for offer in untried if is_taken(offer)], Offered.RELEASE),
        (untried, Offered.STAGED),
        (fitting, Offered.SET_ASIDE),
        (newer, Offered.UNFIT),
    ):
        if offers:
            return Found(offered, _known(offers[0]))
    if found.left_out is not None:
        raise found.left_out
    return Found(Offered.NOTHING)


def _hindrance(config: Config) -> Hindrance | None:
    if ownership.of(config.boot) is Ownership.BORROWED:
        return Hindrance.BORROWED
    if inhibit.active(config):
        return Hindrance.HELD
    return Hindrance.SHUTDOWN if os.path.lexists(SHUTDOWN) else None


def _passive(config: Config, node: Node, memory: Memory, found: Found | None, before: LastRun | None) -> Passive:
    wanted = None if found is None else found.release
    if node.passive_content is Content.INSTALLED:
        if own_transaction(node, memory) is None:
            return Passive.BY_HAND
        if wanted is not None and waiting(node, floor.load(config)) == wanted:
            return Passive.READY
    failed = before is not None and wanted is not None and before.is_too_early(wanted, time.time())
    return Passive.FAILED if failed else Passive.FREE


def _window(config: Config, opening: Opening | None) -> Window:
    if opening is None:
        return Window.NONE
    if time.time() < clock.least(config.channel.root, kept.load(config)):
        return Window.CLOCK_BEHIND
    return Window.OPEN if opening.goes_on(time.time()) else Window.CLOSED


def _tried(config: Config, node: Node, memory: Memory) -> str | None:
    """Return what an update has committed, unless it was cut short right before that."""
    last = memory.committed
    return None if last is None or waiting(node, floor.load(config)) == last else last.sha256


def _is_newer(offer: Offer, node: Node, known: Floor) -> bool:
    """Say whether a release is newer than all that was confirmed here: what somebody went back from is not."""
    booted = known.slots.get(node.booted)
    least = max(known.release_index, 0 if booted is None else booted.release_index)
    return offer.release.release_index > least and offer.release.version != running_version()


def _known(offer: Offer) -> Known:
    return Known(offer.release.version, offer.release.release_index, offer.sha256)
