"""The boot protocol: what each verb may do in each state, and what it writes into the environment block.

Pure: no I/O, no clock. GRUB's half is bootloader/grub.cfg; docs/protocol.md shows both as one table.

The state has two parts: the kernel command line says which slot is booted, the environment block says what GRUB was
last told (`boot_alternative`) and how far it got with it (`boot_cycle`).
"""

from enum import Enum, StrEnum
from typing import NamedTuple

from manageboot import errors

MAX_TRIES = 5
"""GRUB can't count, so its script spells the numbers out, and ends here."""


class Slot(StrEnum):
    """One of the two sets of boot, root and var."""

    A = "A"
    B = "B"

    @property
    def other(self) -> "Slot":
        """The slot that this one is not."""
        return Slot.B if self is Slot.A else Slot.A


class Cycle(StrEnum):
    """The values of `boot_cycle`, as IC-OS names them."""

    INSTALL = "install"
    STABLE = "stable"
    FIRST_BOOT = "first_boot"
    FAILSAFE_CHECK = "failsafe_check"


class Phase(StrEnum):
    """Where the node is between two upgrades."""

    IDLE = "idle"
    PENDING = "pending"
    TRIAL = "trial"
    CONFLICT = "conflict"


class Content(StrEnum):
    """What the record says about a slot."""

    VOID = "void"
    INSTALLING = "installing"
    INSTALLED = "installed"
    COMMITTED = "committed"
    CONFIRMED = "confirmed"


class Verb(StrEnum):
    """What a caller may ask for that changes something, or must wait until nothing is under way."""

    INSTALL = "upgrade-install"
    COMMIT = "upgrade-commit"
    CANCEL = "upgrade-cancel"
    CONFIRM = "confirm"
    ROLLBACK = "rollback"
    ABORT = "abort"
    """A rollback of a trial and of nothing else, with its cause: `rollback --because CAUSE`."""
    BOOTLOADER_INSTALL = "bootloader install"


class BlockState(NamedTuple):
    """What the environment block tells GRUB."""

    alternative: Slot
    cycle: Cycle
    left: int = 0
    """How many more boots a trial in failsafe_check has; 0 in every other cycle."""

    @property
    def next(self) -> Slot:
        """The slot that GRUB starts at the next boot if nothing is written until then."""
        used_up = self.cycle is Cycle.FAILSAFE_CHECK and self.left == 0
        return self.alternative.other if used_up else self.alternative


FACTORY = BlockState(Slot.A, Cycle.STABLE)
"""What GRUB assumes when the block is empty or absent."""


class BootState(NamedTuple):
    """What the kernel command line and the block say."""

    booted: Slot
    block: BlockState

    @property
    def passive(self) -> Slot:
        """The slot that an upgrade goes into."""
        return self.booted.other

    @property
    def phase(self) -> Phase:
        """What the two mean together."""
        agree = self.booted is self.block.alternative
        match self.block.cycle:
            case Cycle.INSTALL | Cycle.STABLE:
                return Phase.IDLE if agree else Phase.CONFLICT
            case Cycle.FIRST_BOOT:
                # With agreement: GRUB started the trial and could not write that down.
                return Phase.TRIAL if agree else Phase.PENDING
            case Cycle.FAILSAFE_CHECK:
                return Phase.TRIAL if agree else Phase.CONFLICT

    @property
    def grub_wrote_nothing(self) -> bool:
        """Whether GRUB started the trial without recording it, so that it would start it for ever."""
        return self.phase is Phase.TRIAL and self.block.cycle is Cycle.FIRST_BOOT


def state_by_block(block: BlockState, *, runs: bool = False, booted: Slot | None = None) -> BootState:
    """Say what the block alone means, of a system whose kernel command line can't be seen.

    As booted counts the slot that must not be overwritten: the one that is trusted, or whose trial goes on. A trial
    that has no try left is over if the system is stopped; GRUB makes the other slot the trusted one at the next boot,
    and so it is taken. If the system runs, it runs that last try.

    Args:
        block: what it says.
        runs: whether the system runs, as far as that can be told.
        booted: the slot that counts as booted all the same, and as trusted, since the trusted one is to be overwritten.
    """
    state = _state_by_block(block, runs=runs)
    if booted is None or booted is state.booted:
        return state
    return BootState(booted, BlockState(booted, Cycle.STABLE))


def _state_by_block(block: BlockState, *, runs: bool) -> BootState:
    match block.cycle:
        case Cycle.INSTALL | Cycle.STABLE:
            return BootState(block.alternative, block)
        case Cycle.FIRST_BOOT:
            return BootState(block.alternative.other, block)
        case Cycle.FAILSAFE_CHECK:
            trusted = BlockState(block.next, Cycle.STABLE)
            return BootState(block.alternative, block) if runs or block.left else BootState(block.next, trusted)


class Write(Enum):
    """What a verb does to the block."""

    NOTHING = "leave it alone"
    ARM = "passive, first_boot"
    TRUST = "booted, stable"
    ABORT = "booted, failsafe_check"


class Rule(NamedTuple):
    """One cell of the table: what a verb does in a phase."""

    write: Write = Write.NOTHING
    needs: frozenset[Content] | None = None
    """What the record of the passive slot must say; None: it does not matter."""
    reboots: bool = False
    warns: bool = False
    """Whether the caller is told that the verb did nothing here."""
    refusal: type[errors.RefusedError] | None = None


class Transition(NamedTuple):
    """What is to be done: the new content of the block (None: leave it alone), and whether to reboot then."""

    block: BlockState | None
    reboots: bool
    warns: bool


_ANYTHING_NEW = frozenset({Content.INSTALLED})
_A_WAY_BACK = frozenset({Content.CONFIRMED})
# Others, such as an offline recovery, may arm a slot that the record knows nothing of.
_NOT_HALF_WRITTEN = frozenset(Content) - {Content.INSTALLING}

TABLE: dict[tuple[Phase, Verb], Rule] = {
    (Phase.IDLE, Verb.INSTALL): Rule(),
    (Phase.IDLE, Verb.COMMIT): Rule(Write.ARM, needs=_ANYTHING_NEW, reboots=True),
    (Phase.IDLE, Verb.CANCEL): Rule(),
    (Phase.IDLE, Verb.CONFIRM): Rule(Write.TRUST),
    (Phase.IDLE, Verb.ROLLBACK): Rule(Write.ARM, needs=_A_WAY_BACK, reboots=True),
    (Phase.PENDING, Verb.INSTALL): Rule(refusal=errors.CommitPendingError),
    (Phase.PENDING, Verb.COMMIT): Rule(needs=_NOT_HALF_WRITTEN, reboots=True),
    (Phase.PENDING, Verb.CANCEL): Rule(Write.TRUST),
    (Phase.PENDING, Verb.CONFIRM): Rule(warns=True),
    # A rollback that is armed and has not rebooted yet may be asked for again; a commit is not a rollback.
    (Phase.PENDING, Verb.ROLLBACK): Rule(needs=_A_WAY_BACK, reboots=True),
    (Phase.TRIAL, Verb.INSTALL): Rule(refusal=errors.TrialError),
    (Phase.TRIAL, Verb.COMMIT): Rule(refusal=errors.TrialError),
    (Phase.TRIAL, Verb.CANCEL): Rule(refusal=errors.TrialError),
    (Phase.TRIAL, Verb.CONFIRM): Rule(Write.TRUST),
    # GRUB goes back by itself when it finds failsafe_check.
    (Phase.TRIAL, Verb.ROLLBACK): Rule(Write.ABORT, reboots=True),
    # Somebody may confirm the trial just before; going back from there is a decision of its own.
    (Phase.IDLE, Verb.ABORT): Rule(refusal=errors.NotOnTrialError),
    (Phase.PENDING, Verb.ABORT): Rule(refusal=errors.NotOnTrialError),
    (Phase.TRIAL, Verb.ABORT): Rule(Write.ABORT, reboots=True),
    # A trial goes on with the script that started it.
    (Phase.IDLE, Verb.BOOTLOADER_INSTALL): Rule(),
    (Phase.PENDING, Verb.BOOTLOADER_INSTALL): Rule(refusal=errors.CommitPendingError),
    (Phase.TRIAL, Verb.BOOTLOADER_INSTALL): Rule(refusal=errors.TrialError),
} | {(Phase.CONFLICT, verb): Rule(refusal=errors.ConflictError) for verb in Verb}


def transition(state: BootState, verb: Verb, passive: Content) -> Transition:
    """Look a verb up in the table.

    Args:
        state: what the kernel command line and the block say.
        verb: what the caller wants.
        passive: what the record says about the passive slot.

    Returns:
        What to write and whether to reboot. A block that holds the wanted values already is left alone.

    Raises:
        RefusedError: the verb would do harm in this state, or the record does not allow it.
    """
    rule = TABLE[state.phase, verb]
    if rule.refusal is not None:
        raise rule.refusal(f"cannot {verb}: {describe(state)}", hint=_HINTS.get(state.phase))
    if rule.needs is not None and passive not in rule.needs:
        raise _unfit_record(state, verb, passive)
    wanted = {
        Write.NOTHING: None,
        Write.ARM: BlockState(state.passive, Cycle.FIRST_BOOT),
        Write.TRUST: BlockState(state.booted, Cycle.STABLE),
        Write.ABORT: BlockState(state.booted, Cycle.FAILSAFE_CHECK),
    }[rule.write]
    return Transition(None if wanted == state.block else wanted, rule.reboots, rule.warns)


def describe(state: BootState) -> str:
    """Put a state into words."""
    booted, (alternative, cycle, _) = state.booted, state.block
    match state.phase:
        case Phase.IDLE:
            return f"slot {booted} is booted and trusted"
        case Phase.PENDING:
            return f"slot {alternative} is committed and waits for its first boot"
        case Phase.TRIAL:
            return f"slot {booted} is on trial, and slot {booted.other} is the way back"
        case Phase.CONFLICT:
            return (
                f"the kernel command line says that slot {booted} is booted, "
                f"the environment block says boot_alternative={alternative}, boot_cycle={cycle}"
            )


_HINTS = {
    Phase.PENDING: "reboot to try it, or take the commit back with upgrade-cancel",
    Phase.TRIAL: "use confirm if it works, or rollback if it does not",
    Phase.CONFLICT: "a reboot lets GRUB decide; if the conflict stays, GRUB reads another block than boot.grubenv",
}


def _unfit_record(state: BootState, verb: Verb, passive: Content) -> errors.RefusedError:
    slot = state.passive
    if state.phase is Phase.PENDING:
        return errors.CommitPendingError(f"cannot {verb}: {describe(state)}", hint=_HINTS[Phase.PENDING])
    if verb is Verb.ROLLBACK:
        return errors.NoWayBackError(
            f"cannot {verb} to slot {slot}: its record says {passive}, not {Content.CONFIRMED}",
            hint="rollback needs a slot that was confirmed, and not written since",
        )
    cause = {
        Content.VOID: "nothing is installed there",
        Content.INSTALLING: "its installation did not finish",
        Content.COMMITTED: "it was committed before and did not stay",
        Content.CONFIRMED: "it holds the previous system, nothing newer",
        Content.INSTALLED: "it is ready",
    }[passive]
    return errors.NothingInstalledError(f"cannot {verb} slot {slot}: {cause}", hint="run upgrade-install first")
