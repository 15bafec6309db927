"""The node as it is now: which slot is booted, what the block says, what the records say."""

from typing import NamedTuple

from manageboot import errors
from manageboot.boot import cmdline, envblock, record
from manageboot.boot.cmdline import CommandLine, GrubParameters
from manageboot.boot.envblock import Condition, Environment
from manageboot.boot.record import SlotRecord
from manageboot.config import Config
from manageboot.protocol import BootState, Content, Slot, state_by_block
from manageboot.system import console, files

VERSION_PATH = "/opt/ic/share/version.txt"
_VERSION_LIMIT_BYTES = 4096


class Node(NamedTuple):
    """One look at the node."""

    booted: Slot
    environment: Environment
    records: dict[Slot, SlotRecord]
    record_problem: errors.ManagebootError | None
    """Why the records can't be read; then they count as void."""
    grub: GrubParameters | None
    """What the shipped grub.cfg said of this boot; None: another one booted the node."""
    boot_id: str | None
    """The kernel's name for this boot."""
    offline: bool = False
    """Whether its disk alone is looked at."""
    disk_user: str | None = None
    """Who uses that disk, most likely the node itself: what is seen may be stale; None: nobody, so the node is off."""
    by_grub: bool = True
    """Whether a GRUB started the kernel. Otherwise it was a host that boots this guest directly, or kexec, and nobody
    knows which; neither looks at a grub.cfg."""

    @property
    def state(self) -> BootState:
        """What kernel command line and block say; offline, what the block alone does.

        Raises:
            BlockDamagedError, BlockMissingError: the block says nothing.
        """
        block = envblock.stated(self.environment)
        if not self.offline:
            return BootState(self.booted, block)
        return state_by_block(block, runs=self.disk_user is not None, booted=self.booted)

    @property
    def overwrites_trusted(self) -> bool:
        """Whether the slot that the block trusts is to be overwritten, so that the other one counts as booted."""
        block = self.environment.state
        if block is None or not self.offline or self.disk_user is not None:
            return False
        return state_by_block(block).booted is not self.booted

    def lost_its_block(self, *, tried: bool) -> bool:
        """Say whether there was a trial by a block that is empty or gone now, so that it says nothing of the trial.

        Args:
            tried: whether the block spoke of a trial in this boot; the shipped script tells it as well.
        """
        lost = self.environment.condition in {Condition.EMPTY, Condition.ABSENT}
        return lost and (tried or (self.grub is not None and self.grub.try_ != ""))

    @property
    def may_be_stale(self) -> bool:
        """Whether a trial counts as aborted in the block, and that may be an earlier one.

        Only the shipped script clears that when a trial begins. With another one, whoever commits and sets no more than
        the two variables of IC-OS leaves it there.
        """
        said, markers = self.grub, self.environment.markers
        # Where it did not start a trial, somebody chose this slot from GRUB's menu: what the block says holds.
        cleared = said is not None and (said.try_ == "" or said.nonce == markers.nonce)
        return markers.aborted and not cleared

    @property
    def passive_content(self) -> Content:
        """What the record says about the passive slot."""
        return record.content(self.records, self.booted.other)


def observe(config: Config, *, with_records: bool = True) -> Node:
    """Look at the node. Writes nothing and takes no lock.

    Args:
        config: the settings.
        with_records: whether to read the records; whoever must not wait for a disk that hangs does without.

    Raises:
        BootedSlotUnknownError: the kernel command line does not name a slot.
        BlockDamagedError, BlockMissingError: the block does not tell it either, offline.
        InputError, DeviceError, NotPermittedError: the block can't be read.
    """
    off = config.boot.cmdline is None
    booted, grub, by_grub = _stopped(config) if off else cmdline.read(config.boot)
    block = envblock.read(config.boot.grubenv)._replace(shipped=grub is not None)
    records, problem = _records(config) if with_records else ({}, None)
    if console.debug:
        if with_records:
            console.debug("record: %s", problem or record.describe(records))
        other = "it was not the shipped grub.cfg that booted the node" if by_grub else "no GRUB started the kernel"
        console.debug("grub: %s", grub or other)
    boot_id = None if off else cmdline.boot_id()
    user = config.boot.disk_user
    return Node(booted, block, records, problem, grub, boot_id, offline=off, disk_user=user, by_grub=by_grub)


def _records(config: Config) -> tuple[dict[Slot, SlotRecord], errors.ManagebootError | None]:
    """Read the records, or say why they can't be read."""
    try:
        return record.load(config.state.directory), None
    except errors.ManagebootError as error:
        return {}, error


def _stopped(config: Config) -> CommandLine:
    """Take the slot that counts as booted; what will start the kernel of a system that is off, nobody knows."""
    return CommandLine(cmdline.booted_slot(config.boot), None, by_grub=True)


def running_version() -> str | None:
    """Return the version of the booted system, where it says one."""
    try:
        content = files.read(VERSION_PATH, _VERSION_LIMIT_BYTES)
    except (OSError, ValueError):
        return None
    return " ".join(content.decode(errors="replace").split()) or None
