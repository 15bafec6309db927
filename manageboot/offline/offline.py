"""The disk of another system, worked on offline: a configuration that leads every verb there.

Only a system that is stopped is written to. While one runs, its disk can be looked at; what is read may be stale then.

The slots' partitions become loop devices, the environment block is changed where it lies inside its vfat partition, and
records, history and lock are this system's, in a directory for each disk: the other system's own may be encrypted.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from typing import NamedTuple

from grubenv import Inside
from manageboot import errors
from manageboot.boot import envblock
from manageboot.config import Config, MetricsConfig, SlotConfig, StateConfig
from manageboot.disk import blockdev, diskusers, loop, sysfs
from manageboot.offline import gpt
from manageboot.offline.gpt import Partition, PartitionTable
from manageboot.protocol import Phase, Slot, Verb, describe, state_by_block
from manageboot.system import lock

logger = logging.getLogger(__name__)


class Parts(Enum):
    """What a verb needs of the partitions of the slots."""

    NOTHING = "nothing"
    PLACES = "where they are on the disk"
    DEVICES = "loop devices over them"


_COMES_FIRST = {
    Phase.PENDING: (errors.CommitPendingError, "let the system try it, or take the commit back with upgrade-cancel"),
    Phase.TRIAL: (errors.TrialError, "let the trial go on, or abort it with rollback"),
}


class Aim(NamedTuple):
    """Which slot is meant, where somebody says so."""

    slot: Slot
    overwrite_trusted: bool = False
    """Whether it may be the trusted one."""


@contextmanager
def opened(
    disk: str, config: Config, *, verb: str, write: bool, parts: Parts, aim: Aim | None = None
) -> Iterator[Config]:
    """Lead a configuration to a disk for the time of a with block.

    Args:
        disk: a block device or an image.
        config: where the slots are on it, and where this system keeps its records and locks.
        verb: what is to be done, for the message that others get.
        write: whether it is to be changed; nobody else may use it then, nor begin to.
        parts: what it needs of the partitions of the slots; loop devices take root. They are also why it must not be
            in use; what needs none, and writes nothing, is done while it is.
        aim: the slot that the verb is to work on; None: the one that does not count as booted.

    Raises:
        TrustedSlotError: the slot that is meant is the trusted one.
        RefusedError: it is not the passive one, and a commit waits or a trial runs.
        BlockDamagedError, BlockMissingError: nothing tells which slot is the trusted one.
        DeviceBusyError: somebody uses the disk, or one partition stands for two parts of the slots.
        LockedError: another run works on it.
        PartitionTableError, DeviceMissingError, DeviceAmbiguousError: it is not there, or lacks what the slots need.
        ConfigError: the configuration does not say where on a disk something is.
        DeviceError, NotPermittedError: it can't be opened.
    """
    disk = os.path.realpath(disk)
    with ExitStack() as stack:
        may_be_used = not write and parts is not Parts.DEVICES
        descriptor, user = _open(stack, config, disk, verb=verb, write=write, may_be_used=may_be_used)
        if user is not None:
            logger.warning("the system may run, so the answer may be stale: %s", user)
        table = gpt.read(disk, descriptor)
        config = _lead(config, table, user)
        if aim is not None:
            config = _aimed(config, table, Verb(verb), aim)
        if write:
            _make_directory(config.state.directory)
        if parts is Parts.PLACES:
            slots = {
                slot: {role: f"{disk}@@{part.offset}" for role, part in roles.items()}
                for slot, roles in _places(config, table).items()
            }
            config = config._replace(slots=slots)
        if parts is Parts.DEVICES:
            config = config._replace(slots=_attached(stack, config, table, descriptor, write=write))
        yield config


def _attached(
    stack: ExitStack, config: Config, table: PartitionTable, descriptor: int, *, write: bool
) -> dict[Slot, SlotConfig]:
    """Make a loop device over each partition of the slots."""
    slots = {}
    for slot, roles in _places(config, table).items():
        slots[slot] = SlotConfig()
        for role, part in roles.items():
            device = loop.attached(
                descriptor,
                f"{slot}_{role} of {os.path.basename(table.disk)}",
                offset=part.offset,
                size=part.size,
                block_size=table.sector_size,
                read_only=not write,
            )
            slots[slot][role] = stack.enter_context(device)
    return slots


def _aimed(config: Config, table: PartitionTable, verb: Verb, aim: Aim) -> Config:
    """Make sure that the verb works on the slot that is meant."""
    state = state_by_block(envblock.stated(envblock.read(config.boot.grubenv)))
    if state.passive is aim.slot:
        return config
    # While a commit waits or a trial runs, that comes first.
    if state.phase in _COMES_FIRST:
        refusal, hint = _COMES_FIRST[state.phase]
        raise refusal(f"cannot {verb} slot {aim.slot} of {table.disk}: {describe(state)}", hint=hint)
    if not aim.overwrite_trusted:
        insist = f"--overwrite-trusted overwrites it; until its commit, slot {state.passive} is trusted then"
        raise errors.TrustedSlotError(
            f"cannot {verb} slot {aim.slot} of {table.disk}: it is the trusted one",
            hint=insist if verb is Verb.INSTALL else None,
        )
    return config._replace(boot=config.boot._replace(counts_as_booted=state.passive))


def _places(config: Config, table: PartitionTable) -> dict[Slot, dict[str, Partition]]:
    """Find the partitions of both slots.

    Raises:
        DeviceBusyError: one stands for two parts, so that a write to one slot would land in the other.
        DeviceMissingError, DeviceAmbiguousError, ConfigError: as for `opened`.
    """
    assert config.boot.grub_partition is not None, "it was found before"
    taken = {table.find(config.boot.grub_partition): config.boot.grub_partition}
    places: dict[Slot, dict[str, Partition]] = {}
    for slot, roles in config.slots.items():
        places[slot] = {}
        for role, spec in roles.items():
            part = places[slot][role] = table.find(spec)
            if part in taken:
                raise errors.DeviceBusyError(
                    f"cannot use {spec} on {table.disk}: it is the same partition as {taken[part]}"
                )
            taken[part] = spec
    return places


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)
    except OSError as error:
        raise errors.from_os_error(error, f"make {path}", errors.CreateError) from error


def _open(
    stack: ExitStack, config: Config, disk: str, *, verb: str, write: bool, may_be_used: bool
) -> tuple[int, str | None]:
    """Open a disk that nobody uses; another run of ours is waited for, and told from whoever else uses it.

    Returns:
        The descriptor; and who uses the disk, where somebody may.
    """
    wait_s = config.state.lock_timeout_s
    with diskusers.looked_at(disk) as descriptor:
        path = _disk_lock(config.state, gpt.read(disk, descriptor))
    if write:
        stack.enter_context(lock.held(path, verb, wait_s=wait_s))
        return stack.enter_context(diskusers.unused(disk, write=True)), None
    while True:
        lock.wait(path, verb, wait_s=wait_s)
        try:
            return stack.enter_context(diskusers.unused(disk, write=False)), None
        except errors.DeviceBusyError as error:
            if lock.holder(path) is None:
                if not may_be_used:
                    raise
                return _open_used(stack, disk), str(error).removeprefix("cannot use ")


def _open_used(stack: ExitStack, disk: str) -> int:
    """Open a disk that somebody uses, to read it, and nothing that was read of it before."""
    descriptor = stack.enter_context(diskusers.looked_at(disk))
    blockdev.drop_cache(descriptor)
    return descriptor


def _lead(config: Config, table: PartitionTable, user: str | None) -> Config:
    if config.boot.grub_partition is None:
        raise errors.ConfigError(
            f"cannot find the environment block on {table.disk}: boot.grub_partition is not set",
            hint="it is the partition that GRUB reads, as PARTUUID=... or PARTLABEL=...",
        )
    part = table.find(config.boot.grub_partition)
    block = Inside(table.disk, part.offset, part.size, os.path.basename(str(config.boot.grubenv)))
    state = _state(config.state, table)
    return config._replace(
        boot=config.boot._replace(grubenv=block, cmdline=None, disk_user=user),
        state=state,
        # What is collected on this system is about this system: a directory that does not exist means no metrics.
        metrics=MetricsConfig(os.path.join(state.directory, "no-metrics")),
    )


def _state(state: StateConfig, table: PartitionTable) -> StateConfig:
    """Give each disk a directory of its own.

    Disks that were made from one image have one GUID, and disks are made anew under one path; the record of another
    disk must never pass for this one's.
    """
    key = f"{table.guid}-{hashlib.sha256(os.fsencode(_identity(table.disk))).hexdigest()[:8]}"
    directory = os.path.join(state.directory, "disks", key)
    return state._replace(
        directory=directory,
        lock=os.path.join(state.runtime_directory, "disks", key, "lock"),
        history=os.path.join(directory, "manageboot.log"),
    )


def _disk_lock(state: StateConfig, table: PartitionTable) -> str:
    """Return the lock of a whole run on a disk; a verb takes its own lock meanwhile, as inside."""
    return os.path.join(_state(state, table).runtime_directory, "disk")


def _identity(disk: str) -> str:
    """Return what device-mapper calls the device for good, as LVM does; else its path."""
    with suppress(OSError):
        return sysfs.attribute(sysfs.numbered(os.stat(disk).st_rdev), "dm/uuid") or disk
    return disk
