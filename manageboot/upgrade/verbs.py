"""The verbs that change what boots next: commit, cancel, confirm, rollback; and `arrive`, by the daemon in each boot.

Each begins as `begin` says, writes the block and the record, and tells of it. A run that dies in between is completed
by running the verb again; that is what decides which of the two comes first.
"""

import logging
import time

from manageboot import errors
from manageboot.boot import envblock, header, record, trusted
from manageboot.boot.markers import Markers, TrialMarker
from manageboot.boot.node import Node, observe, running_version
from manageboot.boot.record import SlotRecord, now
from manageboot.config import Config
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.protocol import Content, Phase, Slot, Transition, Verb, describe
from manageboot.system import lock, process, signals
from manageboot.upgrade import abort, arming, raising, rebooting, sample
from manageboot.upgrade.begin import asked, begun, settled
from manageboot.upgrade.rebooting import Reboot

logger = logging.getLogger(__name__)

_CONFIRM_WAIT_S = 30.0
"""Confirms may come sixty at a time; each holds the lock for milliseconds."""
_ARRIVAL_WAIT_S = 10.0


def commit(config: Config, *, reboot: bool, transaction: str | None = None) -> str:
    """Arm the passive slot: GRUB tries it at the next boot. Then reboot, if asked to.

    Args:
        config: the settings.
        reboot: whether to reboot then.
        transaction: of the installation that is meant, which nobody has committed yet; None: whichever is there.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, nothing is installed, or the slot does not hold it any more.
        RebootError: the slot is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the slot is armed on the disk.
    """
    with begun(config, Verb.COMMIT) as (node, to_do):
        passive = node.booted.other
        if transaction is not None:
            _require(node, transaction)
        if to_do.block is not None:
            arming.warn_of_tries(config, node)
            header.require(config, passive, Verb.COMMIT)
        if to_do.block is not None or node.offline:
            sample.require(config, node, Verb.COMMIT)
        markers = arming.markers(config, node) if to_do.block is not None else node.environment.markers
        # A run that is killed behind the write has armed the slot, and asked for no reboot.
        if reboot:
            rebooting.mark(config, Reboot.NOT_STARTED)
        elif to_do.block is not None:
            rebooting.clear(config)
        _write(config, to_do, markers)
        if node.passive_content is Content.INSTALLED:
            entry = node.records[passive]._replace(content=Content.COMMITTED, committed=now())
            _record(config, {**node.records, passive: record.armed(entry, markers.nonce, node.boot_id)})
        if to_do.block is not None:
            _announce(config, Event.COMMITTED, f"Slot {passive} is committed", node, passive)
        if reboot:
            _reboot(config, to_do, reboot, passive)
            rebooting.mark(config, Reboot.STARTED)
        return f"slot {passive} is committed" + (", the node reboots" if reboot else ", it boots at the next reboot")


def cancel(config: Config) -> str:
    """Take back a commit that was not tried yet, or else an installation.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state.

    Durability: once it returns, it is taken back on the disk.
    """
    with begun(config, Verb.CANCEL) as (node, to_do):
        passive = node.booted.other
        content = node.passive_content
        if to_do.block is not None:
            # Here the record comes first: with the block behind, a second run finds the commit still pending; with the
            # record behind, it would take the whole installation back.
            if content is Content.COMMITTED:
                entry = node.records[passive]._replace(content=Content.INSTALLED, committed=None)
                _record(config, {**node.records, passive: record.disarmed(entry)})
            elif content is Content.CONFIRMED:
                _record(config, {**node.records, passive: record.disarmed(node.records[passive])})
            _write(config, to_do, _kept(node))
            rebooting.clear(config)
            _announce(config, Event.CANCELLED, f"The commit of slot {passive} was taken back", node, passive)
            return f"the commit of slot {passive} is taken back, slot {node.booted} boots next"
        if content in {Content.VOID, Content.CONFIRMED}:
            return "there is nothing to cancel"
        record.store(config.state.directory, {**node.records, passive: SlotRecord(Content.VOID)})
        _announce(config, Event.CANCELLED, f"The installation in slot {passive} was taken back", node, passive)
        return f"the installation in slot {passive} is taken back"


def confirm(config: Config) -> str:
    """Say that the booted trial is good.

    Where there is nothing to confirm it takes no lock and writes nothing, but for the trusted slot and the floor if
    they are behind.
    A trial that was aborted stays so: whoever confirms it comes too late, and the node goes back.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: the kernel command line and the block contradict each other.

    Durability: once it returns, the booted slot is trusted on the disk.
    """
    node = observe(config)
    # Where GRUB's file system is not mounted, nothing tells whether there is a trial.
    envblock.check_present(node.environment)
    to_do = asked(node, Verb.CONFIRM)
    if to_do.block is None and not half_confirmed(node):
        if to_do.warns:
            logger.warning("nothing is confirmed: %s", describe(node.state))
        if _trusted_slot_is_behind(node) or raising.is_behind(config, node):
            _catch_up(config)
        return f"slot {node.booted} is booted, there is nothing to confirm"
    if abort.of_this_trial(config, node):
        return _leave_aborted(node)
    with begun(config, Verb.CONFIRM, least_wait_s=_CONFIRM_WAIT_S) as (node, to_do):
        if abort.of_this_trial(config, node):
            return _leave_aborted(node)
        was_trial = node.state.phase is Phase.TRIAL or half_confirmed(node)
        if node.state.grub_wrote_nothing:
            who = "GRUB" if node.by_grub else "what started this node"
            logger.warning(
                "%s did not record in %s that it started the trial; without a confirm GRUB would start it for ever",
                who, config.boot.grubenv,
            )  # fmt: skip
        _write(config, to_do, _kept(node))
        if node.grub is not None:
            _trust(config, node.booted)
        raising.raise_floor(config, node)
        if was_trial:
            booted = node.booted
            entry = node.records.get(booted, SlotRecord(Content.VOID, version=running_version()))
            entry = entry._replace(content=Content.CONFIRMED, confirmed=now())
            records = {**node.records, booted: record.disarmed(entry)}
            # In a trial the other slot is the way back, and so a trusted system. When a confirm that was cut short is
            # completed, something else may have been installed there since, and its record tells.
            if node.state.phase is Phase.TRIAL or booted.other not in records:
                other = records.get(booted.other, SlotRecord(Content.VOID))
                # On a var of its own it still has the commit that it was tried by, which another record saw confirmed.
                records[booted.other] = record.disarmed(other._replace(content=Content.CONFIRMED))
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


def rollback(config: Config, *, reboot: bool, because: TrialMarker = TrialMarker.BY_HAND) -> str:
    """Go back to the other slot: abort a trial, or arm the slot that was confirmed before this one.

    Args:
        config: the settings.
        reboot: whether to reboot then.
        because: why a trial is aborted; `status` in the other slot tells it. Any but BY_HAND is of a trial only.

    Returns:
        What was done, in words.

    Raises:
        RefusedError: not in this state, or the other slot is not known to hold a confirmed system.
        RebootError: it is armed, but the node could not be told to reboot.

    Durability: once it returns (or raises RebootError), the block says so on the disk.
    """
    verb = Verb.ROLLBACK if because is TrialMarker.BY_HAND else Verb.ABORT
    with begun(config, verb) as (node, to_do):
        other = node.booted.other
        if node.state.phase is Phase.TRIAL:
            abort.mark(config, because)
            aborted = node.environment.markers._replace(tries="", trial=because.value)
            _write(config, to_do._replace(block=to_do.block or node.state.block), aborted)
        else:
            arming.warn_of_tries(config, node)
            if to_do.block is not None:
                header.require(config, other, Verb.ROLLBACK)
            markers = arming.markers(config, node) if to_do.block is not None else node.environment.markers
            # Here the record comes first: that of an earlier rollback would be taken for this one's.
            entry = node.records[other]
            if to_do.block is not None or entry.committed_in is None or entry.nonce != (markers.nonce or None):
                _record(config, {**node.records, other: record.armed(entry, markers.nonce, node.boot_id)})
            _write(config, to_do, markers)
        _announce(config, Event.ROLLED_BACK, f"The node goes back to slot {other}", node, other)
        _reboot(config, to_do, reboot, other)
        return f"slot {other} boots next" + (", the node reboots" if reboot else "")


def arrive(config: Config) -> str:
    """Say that userspace is up: force down what GRUB wrote, and leave a marker in a trial.

    It tells nothing of a fallback: the records need not be mounted yet.

    Returns:
        What was done, in words.

    Raises:
        BlockDamagedError, BlockMissingError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, what GRUB wrote at this boot survives a power cut, and so does the marker.
    """
    with settled(config, "arrive", least_wait_s=_ARRIVAL_WAIT_S) as node:
        markers = node.environment.markers
        if node.state.phase is not Phase.TRIAL or (markers.trial and not abort.of_earlier_trial(config, node)):
            return f"slot {node.booted} is up"
        envblock.write(config.boot.grubenv, node.state.block, markers._replace(trial=TrialMarker.USERSPACE.value))
        return f"slot {node.booted} is up, on trial"


def _require(node: Node, transaction: str) -> None:
    """Make sure that the passive slot holds an installation, and that nobody has committed it."""
    passive, entry = node.booted.other, node.records.get(node.booted.other)
    if node.state.phase is not Phase.IDLE or entry is None or entry.transaction != transaction:
        raise errors.NothingInstalledError(
            f"cannot {Verb.COMMIT} slot {passive}: somebody has committed it, or installed something else",
            hint="`manageboot status` says what is there",
        )


def _leave_aborted(node: Node) -> str:
    """Tell whoever confirms that it is too late."""
    booted, because = node.booted, node.environment.markers.trial
    logger.warning("nothing is confirmed: the trial of slot %s was aborted (%s)", booted, because)
    return f"the trial of slot {booted} was aborted, slot {booted.other} boots next"


def _write(config: Config, to_do: Transition, markers: Markers) -> None:
    signals.hold()
    if to_do.block is not None:
        envblock.write(config.boot.grubenv, to_do.block, markers)


def _kept(node: Node) -> Markers:
    """Take back all markers but the acknowledgement, which stays as the proof that GRUB writes this block."""
    return Markers(ack=node.environment.markers.ack)


def _trusted_slot_is_behind(node: Node) -> bool:
    return (
        node.grub is not None
        and node.state.phase is Phase.IDLE
        and trusted.read(node.environment.path) is not node.booted
    )


def _catch_up(config: Config) -> None:
    """Complete a confirm that was cut short: the trusted slot, and the floor. Another run may do it, or a later one."""
    try:
        with lock.held(config.state.lock, Verb.CONFIRM, brief=True):
            node = observe(config)
            if _trusted_slot_is_behind(node):
                _trust(config, node.booted)
            if raising.is_behind(config, node):
                raising.raise_floor(config, node)
    except errors.LockedError:
        logger.info("another run is at work; the trusted slot and the floor are written later")


def _trust(config: Config, slot: Slot) -> None:
    """Write the trusted slot after the block; a failure is no longer one of the verb."""
    try:
        envblock.write_trusted(config.boot.grubenv, slot)
    except errors.ManagebootError as error:
        logger.warning("slot %s is trusted, but a GRUB that finds its block damaged does not know: %s", slot, error)


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


def _reboot(config: Config, to_do: Transition, wanted: bool, slot: Slot) -> None:
    if wanted and to_do.reboots:
        process.run(
            config.boot.reboot_command,
            failure=errors.RebootError,
            doing="reboot",
            hint=f"slot {slot} boots next: reboot by other means, or use upgrade-cancel",
        )
