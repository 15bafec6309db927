"""The node as it is now: which slot is booted, what the block says, what the records say."""

from typing import NamedTuple

from manageboot import errors
from manageboot.boot import cmdline, envblock, record
from manageboot.boot.cmdline import BootTrace
from manageboot.boot.envblock import Condition, Environment
from manageboot.boot.record import SlotRecord
from manageboot.boot.slots import booted_slot
from manageboot.config import Config
from manageboot.protocol import BootState, Content, Decision, Slot, Verb, decide, explain, state_of_stopped
from manageboot.system import console

VERSION_PATH = "/opt/ic/share/version.txt"
_VERSION_LIMIT_BYTES = 4096


class Node(NamedTuple):
    """One look at the node."""

    booted: Slot
    environment: Environment
    records: dict[Slot, SlotRecord]
    record_problem: errors.ManagebootError | None
    """Why the records can't be read; then they count as void."""
    trace: BootTrace | None
    """What the shipped grub.cfg said of this boot; None: another one booted the node."""
    boot_id: str | None
    """The kernel's name for this boot."""
    stopped: bool = False
    """Whether it is off, and looked at from outside."""

    @property
    def state(self) -> BootState:
        """What both witnesses say; of a system that is stopped, what the block alone does.

        Raises:
            BlockDamagedError, BlockMissingError: the block says nothing.
        """
        block = envblock.stated(self.environment)
        return state_of_stopped(block) if self.stopped else BootState(self.booted, block)

    def lost_its_block(self, *, tried: bool) -> bool:
        """Say whether there was a trial by a block that is empty or gone now, so that it says nothing of the trial.

        Args:
            tried: whether the block spoke of a trial in this boot; the shipped script tells it as well.
        """
        lost = self.environment.condition in {Condition.EMPTY, Condition.ABSENT}
        return lost and (tried or (self.trace is not None and self.trace.try_ != ""))

    @property
    def may_be_stale(self) -> bool:
        """Whether a trial counts as given up in the block, and that may be an earlier one.

        Only the shipped script clears that when a trial begins. With another one, whoever commits and sets no more than
        the two variables of IC-OS leaves it there.
        """
        trace = self.trace
        # Where it did not start a trial, somebody chose this slot from GRUB's menu: what stands there holds.
        cleared = trace is not None and (trace.try_ == "" or trace.nonce == self.environment.traces.nonce)
        return self.environment.traces.given_up and not cleared

    @property
    def passive_content(self) -> Content:
        """What the record says about the passive slot."""
        return record.content(self.records, self.booted.other)


def observe(config: Config) -> Node:
    """Look at the node. Writes nothing and takes no lock.

    Raises:
        BootedSlotUnknownError: the kernel command line does not name a slot.
        BlockDamagedError, BlockMissingError: the block does not tell it either, of a system that is stopped.
        InputError, DeviceError, NotPermittedError: the block can't be read.
    """
    booted = booted_slot(config.boot)
    trace = cmdline.read(config.boot)
    block = envblock.read(config.boot.grubenv)._replace(shipped=trace is not None)
    try:
        records, problem = record.load(config.state.directory), None
    except errors.ManagebootError as error:
        records, problem = {}, error
    off = config.boot.cmdline is None
    node = Node(booted, block, records, problem, trace, None if off else cmdline.boot_id(), stopped=off)
    if console.debug:
        told = problem or ", ".join(f"slot {slot} {records[slot].content}" for slot in sorted(records)) or "no slot"
        console.debug("record: %s", told)
        console.debug("grub: %s", trace or "it was not the shipped grub.cfg that booted the node")
    return node


def decided(node: Node, verb: Verb) -> Decision:
    """Ask the protocol what a verb may do on a node; `--debug` shows the question and the answer.

    Raises:
        RefusedError: not in this state.
        BlockDamagedError, BlockMissingError: the block says nothing.
    """
    if console.debug:
        known = f"{explain(node.state)}, and the record says that slot {node.booted.other} is {node.passive_content}"
        console.debug("may %s? %s: %s", verb, node.state.phase, known)
    try:
        decision = decide(node.state, verb, node.passive_content)
    except errors.RefusedError as error:
        if console.debug:
            console.debug("no: %s", error.code)
        raise
    if console.debug:
        console.debug("yes: %s", _words(decision))
    return decision


def _words(decision: Decision) -> str:
    block, reboots, warns = decision
    said = "the block stays" if block is None else f"the block becomes {block.alternative}, {block.cycle}"
    return f"{said}{', the node reboots' if reboots else ''}{', with a warning' if warns else ''}"


def running_version() -> str | None:
    """Return the version of the booted system, where it says one."""
    try:
        with open(VERSION_PATH, encoding="utf-8", errors="replace") as file:
            return " ".join(file.read(_VERSION_LIMIT_BYTES).split()) or None
    except OSError:
        return None
