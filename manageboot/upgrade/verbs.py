"""The verbs that change what boots next: commit, cancel, confirm, rollback.

Each looks at the node under the lock, asks `protocol` what to do, writes the block and the record. A run that dies in
between is completed by running the verb again; that is what decides which of the two comes first.
"""

import logging
import os
import time

from manageboot import errors
from manageboot.boot import envblock, fallback, head, record, trusted
from manageboot.boot.markers import Traces, Trial
from manageboot.boot.node import Node, decided, observe, running_version
from manageboot.boot.record import SlotRecord, now
from manageboot.config import Config
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.protocol import Content, Decision, Phase, Slot, Verb, explain
from manageboot.system import lock, process, signals
from manageboot.upgrade import abort, sample

logger = logging.getLogger(__name__)

_CONFIRM_WAIT_S = 30.0
"""Confirms may come sixty at a time; each holds the lock for milliseconds."""


def commit(config: Config, *, reboot: bool) -> str:
    """Arm the passive slot: GRUB tries it at the next boot. Then reboot, if asked to.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, nothing is installed, or the slot does not hold it any more.
        RebootError: the slot is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the slot is armed on the disk.
    """
    with lock.held(config.state.lock, Verb.COMMIT, wait_s=config.state.lock_timeout_s, brief=True):
        node, decision = _prepare(config, Verb.COMMIT)
        passive = node.booted.other
        if decision.block is not None:
            _warn_of_tries(config, node)
            head.require(config, passive, Verb.COMMIT)
            sample.require(config, passive, node.records.get(passive), Verb.COMMIT)
        traces = armed(config, node) if decision.block is not None else node.environment.traces
        _write(config, decision, traces)
        if node.passive_content is Content.INSTALLED:
            entry = node.records[passive]._replace(content=Content.COMMITTED, committed=now())
            _record(config, {**node.records, passive: record.armed(entry, traces.nonce, node.boot_id)})
        if decision.block is not None:
            _announce(config, Event.COMMITTED, f"Slot {passive} is committed", node, passive)
        _reboot(config, decision, reboot, passive)
        return f"slot {passive} is committed" + (", the node reboots" if reboot else ", it boots at the next reboot")


def cancel(config: Config) -> str:
    """Take back a commit that was not tried yet, or else an installation.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state.

    Durability: once it returns, it is taken back on the disk.
    """
    with lock.held(config.state.lock, Verb.CANCEL, wait_s=config.state.lock_timeout_s, brief=True):
        node, decision = _prepare(config, Verb.CANCEL)
        passive = node.booted.other
        content = node.passive_content
        if decision.block is not None:
            # Here the record comes first: with the block behind, a second run finds the commit still pending; with the
            # record behind, it would take the whole installation back.
            if content is Content.COMMITTED:
                entry = node.records[passive]._replace(content=Content.INSTALLED, committed=None)
                _record(config, {**node.records, passive: record.settled(entry)})
            elif content is Content.CONFIRMED:
                _record(config, {**node.records, passive: record.settled(node.records[passive])})
            _write(config, decision, _kept(node))
            _announce(config, Event.CANCELLED, f"The commit of slot {passive} was taken back", node, passive)
            return f"the commit of slot {passive} is taken back, slot {node.booted} boots next"
        if content in {Content.VOID, Content.CONFIRMED}:
            return "there is nothing to cancel"
        record.store(config.state.directory, {**node.records, passive: SlotRecord(Content.VOID)})
        _announce(config, Event.CANCELLED, f"The installation in slot {passive} was taken back", node, passive)
        return f"the installation in slot {passive} is taken back"


def confirm(config: Config) -> str:
    """Say that the booted trial is good.

    Where there is nothing to confirm it takes no lock and writes nothing, but for the second witness if that is behind.
    A trial that was given up stays given up: whoever confirms it comes too late, and the node goes back.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: the two witnesses contradict each other.

    Durability: once it returns, the booted slot is trusted on the disk.
    """
    node = observe(config)
    # Where GRUB's file system is not mounted, nothing tells whether there is a trial.
    envblock.check_present(node.environment)
    decision = decided(node, Verb.CONFIRM)
    if decision.block is None and not half_confirmed(node):
        if decision.warns:
            logger.warning("nothing is confirmed: %s", explain(node.state))
        if _trust_is_behind(node):
            _catch_up(config)
        return f"slot {node.booted} is booted, there is nothing to confirm"
    if _given_up(config, node):
        return _leave_given_up(node)
    wait_s = max(_CONFIRM_WAIT_S, config.state.lock_timeout_s)
    with lock.held(config.state.lock, Verb.CONFIRM, wait_s=wait_s, brief=True):
        node, decision = _prepare(config, Verb.CONFIRM)
        if _given_up(config, node):
            return _leave_given_up(node)
        was_trial = node.state.phase is Phase.TRIAL or half_confirmed(node)
        if node.state.grub_wrote_nothing:
            logger.warning(
                "GRUB started the trial without writing that into %s; had it failed, it would have been tried again",
                config.boot.grubenv,
            )
        _write(config, decision, _kept(node))
        if node.trace is not None:
            _trust(config, node.booted)
        if was_trial:
            booted = node.booted
            entry = node.records.get(booted, SlotRecord(Content.VOID, version=running_version()))
            entry = entry._replace(content=Content.CONFIRMED, confirmed=now())
            records = {**node.records, booted: record.settled(entry)}
            # In a trial the other slot is the way back, and so a trusted system. When a confirm that was cut short is
            # completed, something else may have been installed there since, and its record tells.
            if node.state.phase is Phase.TRIAL or booted.other not in records:
                other = records.get(booted.other, SlotRecord(Content.VOID))
                # On a var of its own it still has the commit that it was tried by, which another record saw confirmed.
                records[booted.other] = record.settled(other._replace(content=Content.CONFIRMED))
            _record(config, records)
            since_boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
            _announce(
                config, Event.CONFIRMED, f"Slot {booted} is confirmed", node, booted, seconds=round(since_boot_s, 3)
            )
        return f"slot {node.booted} is confirmed"


def half_confirmed(node: Node) -> bool:
    """Say whether the booted slot is trusted, and its record does not know: a confirm was cut short."""
    entry = node.records.get(node.booted)
    if node.state.phase is not Phase.IDLE or entry is None:
        return False
    # A rollback leaves a slot confirmed, and notes in which boot it was asked for.
    return entry.content is Content.COMMITTED or (entry.content is Content.CONFIRMED and entry.committed_in is not None)


def rollback(config: Config, *, reboot: bool, because: Trial = Trial.BY_HAND) -> str:
    """Go back to the other slot: give a trial up, or arm the slot that was confirmed before this one.

    Args:
        config: the settings.
        reboot: whether to reboot then.
        because: why a trial is given up; `status` in the other slot tells it. Any but BY_HAND is of a trial only.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, or the other slot is not known to hold a confirmed system.
        RebootError: it is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the block says so on the disk.
    """
    with lock.held(config.state.lock, Verb.ROLLBACK, wait_s=config.state.lock_timeout_s, brief=True):
        node, decision = _prepare(config, Verb.ROLLBACK)
        other = node.booted.other
        if because is not Trial.BY_HAND and node.state.phase is not Phase.TRIAL:
            # Somebody confirmed it a moment ago; going back from there is a decision of its own.
            raise errors.NotOnTrialError(f"cannot {Verb.ROLLBACK} because of {because}: {explain(node.state)}")
        if node.state.phase is Phase.TRIAL:
            abort.mark(config, because)
            given_up = node.environment.traces._replace(tries="", trial=because.value)
            _write(config, decision._replace(block=decision.block or node.state.block), given_up)
        else:
            _warn_of_tries(config, node)
            if decision.block is not None:
                head.require(config, other, Verb.ROLLBACK)
            traces = armed(config, node) if decision.block is not None else node.environment.traces
            # Here the record comes first: that of an earlier rollback would be taken for this one's.
            entry = node.records[other]
            if decision.block is not None or entry.committed_in is None or entry.nonce != (traces.nonce or None):
                _record(config, {**node.records, other: record.armed(entry, traces.nonce, node.boot_id)})
            _write(config, decision, traces)
        _announce(config, Event.ROLLED_BACK, f"The node goes back to slot {other}", node, other)
        _reboot(config, decision, reboot, other)
        return f"slot {other} boots next" + (", the node reboots" if reboot else "")


def new_nonce() -> str:
    """Make a word that no commit had before."""
    return os.urandom(4).hex()


def armed(config: Config, node: Node) -> Traces:
    """Make the traces of a new commit. Only the shipped grub.cfg is known to understand them."""
    if node.trace is None:
        return Traces()
    tries = str(config.boot.tries) if config.boot.tries > 1 else ""
    return Traces(nonce=new_nonce(), ack=node.environment.traces.ack, tries=tries)


def _prepare(config: Config, verb: Verb) -> tuple[Node, Decision]:
    node = observe(config)
    envblock.settle(node.environment)
    if node.record_problem is not None:
        logger.warning("%s", node.record_problem)
    if (fell_back := fallback.explain(node)) is not None:
        events.announce_fallback(config, node, fell_back)
    return node, decided(node, verb)


def _given_up(config: Config, node: Node) -> bool:
    """Say whether this very trial was given up.

    A grub.cfg that is not the shipped one never clears what an earlier trial left; there, other witnesses have to tell.
    """
    left_behind = node.environment.traces
    if node.state.phase is not Phase.TRIAL or not left_behind.given_up:
        return False
    of_this_boot = node.trace is not None and left_behind.nonce != "" and left_behind.nonce == node.trace.nonce
    return of_this_boot or abort.in_this_boot(config, left_behind.trial)


def _leave_given_up(node: Node) -> str:
    """Tell whoever confirms that it is too late."""
    booted, because = node.booted, node.environment.traces.trial
    logger.warning("nothing is confirmed: the trial of slot %s was given up (%s)", booted, because)
    return f"the trial of slot {booted} was given up, slot {booted.other} boots next"


def _write(config: Config, decision: Decision, traces: Traces) -> None:
    signals.hold()
    if decision.block is not None:
        envblock.write(config.boot.grubenv, decision.block, traces)


def _warn_of_tries(config: Config, node: Node) -> None:
    if node.trace is None and config.boot.tries > 1:
        logger.warning(
            "the trial gets one boot, not boot.tries = %d: the grub.cfg that booted this node does not count",
            config.boot.tries,
        )


def _kept(node: Node) -> Traces:
    """Take back all traces but the acknowledgement, which stays as the proof that GRUB writes this block."""
    return Traces(ack=node.environment.traces.ack)


def _trust_is_behind(node: Node) -> bool:
    return (
        node.trace is not None
        and node.state.phase is Phase.IDLE
        and trusted.read(node.environment.path) is not node.booted
    )


def _catch_up(config: Config) -> None:
    """Write the second witness for a slot that was confirmed before. Another run may do it, or a later confirm."""
    try:
        with lock.held(config.state.lock, Verb.CONFIRM, brief=True):
            node = observe(config)
            if _trust_is_behind(node):
                _trust(config, node.booted)
    except errors.LockedError:
        logger.info("another run is at work; the second witness is written later")


def _trust(config: Config, slot: Slot) -> None:
    """Write the second witness after the block; a failure is no longer one of the verb."""
    try:
        envblock.write_trust(config.boot.grubenv, slot)
    except errors.ManagebootError as error:
        logger.warning("slot %s is trusted, but not for a GRUB that finds its block damaged: %s", slot, error)


def _record(config: Config, records: dict[Slot, SlotRecord]) -> None:
    """Store the records beside a block that counts without them: a failure is none of the verb's."""
    try:
        record.store(config.state.directory, records)
    except errors.ManagebootError as error:
        logger.warning("the record is not written, only the environment block: %s", error)


def _announce(
    config: Config, event: Event, message: str, node: Node, slot: Slot, *, seconds: float | None = None
) -> None:
    entry = node.records.get(slot, SlotRecord(Content.VOID))
    # On a var of its own, a new slot has no record yet.
    version = entry.version or (running_version() if slot is node.booted else None)
    events.announce(config, event, message, slot=slot, version=version, transaction=entry.transaction, seconds=seconds)


def _reboot(config: Config, decision: Decision, wanted: bool, slot: Slot) -> None:
    if wanted and decision.reboots:
        process.run(
            config.boot.reboot_command,
            failure=errors.RebootError,
            doing="reboot",
            hint=f"it is written that slot {slot} boots next: reboot by other means, or use upgrade-cancel",
        )
