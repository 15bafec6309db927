"""The verbs that change what boots next: commit, cancel, confirm, rollback.

Each looks at the node under the lock, asks `protocol` what to do, writes the block, then the record. The block comes
first because it is what counts: a run that dies in between is completed by running the verb again.
"""

import logging
from datetime import UTC, datetime

from manageboot import environment, errors, journal, lock, process, record
from manageboot.config import Config
from manageboot.node import Node, observe, running_version
from manageboot.protocol import Content, Decision, Phase, Slot, Verb, decide, explain
from manageboot.record import SlotRecord

logger = logging.getLogger(__name__)

_CONFIRM_WAIT_S = 10.0
"""Confirms may come sixty at a time; each holds the lock for milliseconds."""


def commit(config: Config, *, reboot: bool) -> str:
    """Arm the passive slot: GRUB tries it at the next boot. Then reboot, if asked to.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, or nothing is installed.
        RebootError: the slot is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the slot is armed on the disk.
    """
    with lock.held(config.state.lock, Verb.COMMIT):
        node, decision = _prepare(config, Verb.COMMIT)
        passive = node.booted.other
        _write(config, decision)
        if node.passive_content is Content.INSTALLED:
            entry = node.records[passive]._replace(content=Content.COMMITTED, committed=now())
            _record(config, {**node.records, passive: entry})
        if decision.block is not None:
            _announce(journal.Event.COMMITTED, f"Slot {passive} is committed", node, passive)
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
    with lock.held(config.state.lock, Verb.CANCEL):
        node, decision = _prepare(config, Verb.CANCEL)
        passive = node.booted.other
        content = node.passive_content
        _write(config, decision)
        if decision.block is not None:
            if content is Content.COMMITTED:
                entry = node.records[passive]._replace(content=Content.INSTALLED, committed=None)
                _record(config, {**node.records, passive: entry})
            _announce(journal.Event.CANCELLED, f"The commit of slot {passive} was taken back", node, passive)
            return f"the commit of slot {passive} is taken back, slot {node.booted} boots next"
        if content in {Content.VOID, Content.CONFIRMED}:
            return "there is nothing to cancel"
        record.store(config.state.directory, {**node.records, passive: SlotRecord(Content.VOID)})
        _announce(journal.Event.CANCELLED, f"The installation in slot {passive} was taken back", node, passive)
        return f"the installation in slot {passive} is taken back"


def confirm(config: Config) -> str:
    """Say that the booted trial is good.

    Where there is nothing to confirm it takes no lock and writes nothing.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: the two witnesses contradict each other.

    Durability: once it returns, the booted slot is trusted on the disk.
    """
    node = observe(config)
    decision = decide(node.state, Verb.CONFIRM, node.passive_content)
    if decision.block is None:
        if decision.warns:
            logger.warning("nothing is confirmed: %s", explain(node.state))
        return f"slot {node.booted} is booted, there is nothing to confirm"
    with lock.held(config.state.lock, Verb.CONFIRM, wait_s=_CONFIRM_WAIT_S):
        node, decision = _prepare(config, Verb.CONFIRM)
        was_trial = node.state.phase is Phase.TRIAL
        if node.state.grub_wrote_nothing:
            logger.warning(
                "GRUB started the trial without writing that into %s; had it failed, it would have been tried again",
                config.boot.grubenv,
            )
        _write(config, decision)
        if was_trial:
            booted = node.booted
            entry = node.records.get(booted, SlotRecord(Content.VOID, version=running_version()))
            entry = entry._replace(content=Content.CONFIRMED, confirmed=now())
            # Until this moment the other slot was the way back, so it holds a trusted system.
            other = node.records.get(booted.other, SlotRecord(Content.VOID))
            if other.content is not Content.CONFIRMED:
                other = other._replace(content=Content.CONFIRMED)
            _record(config, {**node.records, booted: entry, booted.other: other})
            _announce(journal.Event.CONFIRMED, f"Slot {booted} is confirmed", node, booted)
        return f"slot {node.booted} is confirmed"


def rollback(config: Config, *, reboot: bool) -> str:
    """Go back to the other slot: give a trial up, or arm the slot that was confirmed before this one.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, or the other slot is not known to hold a confirmed system.
        RebootError: it is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the block says so on the disk.
    """
    with lock.held(config.state.lock, Verb.ROLLBACK):
        node, decision = _prepare(config, Verb.ROLLBACK)
        other = node.booted.other
        _write(config, decision)
        _announce(journal.Event.ROLLED_BACK, f"The node goes back to slot {other}", node, other)
        _reboot(config, decision, reboot, other)
        return f"slot {other} boots next" + (", the node reboots" if reboot else "")


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _prepare(config: Config, verb: Verb) -> tuple[Node, Decision]:
    node = observe(config)
    environment.settle(node.environment)
    if node.record_problem is not None:
        logger.warning("%s", node.record_problem)
    return node, decide(node.state, verb, node.passive_content)


def _write(config: Config, decision: Decision) -> None:
    if decision.block is not None:
        environment.write(config.boot.grubenv, decision.block)


def _record(config: Config, records: dict[Slot, SlotRecord]) -> None:
    """Store the records after the block was written: then a failure is no longer one of the verb."""
    try:
        record.store(config.state.directory, records)
    except errors.ManagebootError as error:
        logger.warning("the environment block is written, but not the record: %s", error)


def _announce(event: journal.Event, message: str, node: Node, slot: Slot) -> None:
    entry = node.records.get(slot, SlotRecord(Content.VOID))
    journal.send(event, message, slot=slot, version=entry.version, transaction=entry.transaction)


def _reboot(config: Config, decision: Decision, wanted: bool, slot: Slot) -> None:
    if wanted and decision.reboots:
        process.run(
            config.boot.reboot_command,
            failure=errors.RebootError,
            doing="reboot",
            hint=f"it is written that slot {slot} boots next: reboot by other means, or use upgrade-cancel",
        )
