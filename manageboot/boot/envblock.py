"""The environment block as this program uses it: what GRUB decides by, read for a query, written for a verb.

The block itself, its bytes and its durability, is the work of the library `grubenv`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

import grubenv
from grubenv import Inside
from manageboot import errors
from manageboot.boot import blockfile, trusted
from manageboot.boot.markers import BOOT_NAMES, NAMES, Markers, from_variables
from manageboot.protocol import FACTORY, BlockState, Cycle, Slot
from manageboot.system import console, text

ALTERNATIVE = "boot_alternative"
CYCLE = "boot_cycle"
_REQUIRED = (ALTERNATIVE, CYCLE, *BOOT_NAMES)
"""What GRUB decides by has to lie in the first sector."""


class Condition(StrEnum):
    """What there is at the path of the block."""

    OK = "ok"
    EMPTY = "empty"
    ABSENT = "absent"
    DAMAGED = "damaged"


class Environment(NamedTuple):
    """One reading of the environment block."""

    path: "str | Inside"
    condition: Condition
    state: BlockState | None
    """What it tells GRUB; None where it is damaged, or absent where GRUB would not look for it."""
    problem: errors.ManagebootError | None
    """Why that can't be told."""
    markers: Markers = Markers()
    """What GRUB and the agent left for each other."""
    shipped: bool = False
    """Whether the shipped grub.cfg booted the node, so that GRUB knows the trusted slot."""


def read(path: str | Inside) -> Environment:
    """Read what the block tells GRUB. Writes nothing.

    An empty or absent block means what it means to GRUB: the trusted slot, or else A, stable. One that is
    absent where no grub.cfg lies beside it means nothing: GRUB's file system most likely is not mounted there.

    Raises:
        InputError, DeviceError, NotPermittedError: the file, or what lies beside it, is there and can't be read.
    """
    found = _read(path)
    if console.debug:
        says = str(found.problem) if found.state is None else _words(found.state, found.markers)
        console.debug("block: %s is %s: %s", path, found.condition, says)
    return found


def _read(path: str | Inside) -> Environment:
    try:
        with translated():
            if blockfile.is_empty(path):
                return Environment(path, Condition.EMPTY, _assumed(path), None)
            variables = grubenv.query(path)
        markers = from_variables(variables)
        return Environment(path, Condition.OK, _interpret(path, variables, markers), None, markers)
    except FileNotFoundError:
        return _absent(path)
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    except errors.BlockDamagedError as error:
        return Environment(path, Condition.DAMAGED, None, error)


def stated(environment: Environment) -> BlockState:
    """Return what the block tells GRUB.

    Raises:
        BlockDamagedError: it tells nothing.
        BlockMissingError: there is no block, and no sign of GRUB either.
    """
    if environment.state is None:
        raise environment.problem or errors.BlockDamagedError(f"cannot read {environment.path}")
    return environment.state


def settle(environment: Environment) -> None:
    """Make sure of the block before a verb relies on it: it is on the disk, and what we write is what GRUB reads.

    GRUB does not flush. What it wrote at boot, and the agent goes by, is forced down here.

    A block that is absent is only made where GRUB's own configuration lies beside it: elsewhere the file system that
    should be mounted there most likely is not.

    Raises:
        BlockDamagedError: the block is damaged, or GRUB could not update it.
        BlockMissingError: there is no block, and no sign of GRUB either.
        DeviceError, NotPermittedError: it can't be flushed.

    Durability: once it returns, the block as it was read survives a power cut.
    """
    check_present(environment)
    if environment.condition is Condition.OK:
        with translated():
            grubenv.read(environment.path)
        blockfile.flush(environment.path)
    _settle_trusted(environment)


def check_present(environment: Environment) -> None:
    """Make sure that there is a block that says something, or that GRUB would find one that is made here.

    Raises:
        BlockDamagedError: the block is damaged.
        BlockMissingError: there is no block, and no sign of GRUB either.
    """
    if environment.problem is not None:
        raise environment.problem


def write(path: str | Inside, state: BlockState, markers: Markers) -> None:
    """Tell GRUB what to do at the next boot; all variables and comments that are not ours stay.

    Args:
        path: the block.
        state: what the two variables say; `left` follows from the markers.
        markers: all as they are to be; an empty one leaves the block.

    Raises:
        BlockDamagedError, BlockMissingError, CreateError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, the block is on the disk and was read back; before, it is the old or the new one.
    """
    if console.debug:
        console.debug("block: %s is to say %s", path, _words(state, markers))
    with translated():
        if isinstance(path, Inside):
            blockfile.make_inside(path, grubenv.EnvBlock.create().update(_ours(state, markers)[0]).build())
        grubenv.update(path, *_ours(state, markers), create_missing=True, required_in_first_sector=_REQUIRED)


def rehearse(path: str | Inside, state: BlockState, markers: Markers) -> None:
    """Refuse what `write` would refuse, or GRUB for want of room when it starts the trial. Writes nothing.

    Args:
        path: the block.
        state: what a commit would write.
        markers: those of that commit.

    Raises:
        BlockFullError, BlockNotAtomicError: what is in the block already leaves no room, or no safe way.
        CreateError: there is no block and nothing to make one with.
        NotPermittedError: it can't be written: its file system, or the device below, is read-only, or it is immutable.
        BlockDamagedError, DeviceError.
    """
    if isinstance(path, Inside):
        with translated():
            blockfile.require_maker(path)
    from manageboot.boot import writable  # no query needs it

    ours = _ours(state, markers)
    started = {CYCLE: Cycle.FAILSAFE_CHECK.value}
    if markers.nonce:
        started |= dict(zip(NAMES, markers._replace(ack=markers.nonce, tried="1"), strict=True))
    try:
        block = grubenv.rehearse(path, *ours, required_in_first_sector=_REQUIRED)
        block.update({name: value for name, value in started.items() if value})
    except (grubenv.NoRoomError, grubenv.NotAtomicError) as error:
        raise _kind(error)(
            f"cannot commit with {path}, so nothing is installed: {error.cause}", hint=error.hint
        ) from error
    except grubenv.GrubEnvError as error:
        raise _translate(error) from error
    found = writable.obstacle(path)
    if found is not None:
        raise found.kind(f"cannot commit with {path}, so nothing is installed: {found.cause}", hint=found.hint)


def write_trusted(path: str | Inside, slot: Slot) -> None:
    """Tell GRUB which slot to take when the block says nothing.

    Raises:
        BlockDamagedError, CreateError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, it is on the disk and was read back.
    """
    with translated():
        trusted.write(path, slot)


def _settle_trusted(environment: Environment) -> None:
    """Bring the trusted slot up to the block, before a verb overwrites the one that it may still name."""
    state = environment.state
    if environment.condition is not Condition.OK or state is None or state.cycle is not Cycle.STABLE:
        return
    named = trusted.read(environment.path)
    if named is state.alternative.other or (named is None and environment.shipped):
        try:
            write_trusted(environment.path, state.alternative)
        except errors.ManagebootError as error:
            import logging

            # GRUB still has the block to go by.
            logging.getLogger(__name__).warning("the trusted slot is behind: %s", error)


def _words(state: BlockState, markers: Markers) -> str:
    """Write the variables as they stand in the block, for `--debug`."""
    return " ".join(f"{name}={value}" for name, value in _ours(state, markers)[0].items())


def _ours(state: BlockState, markers: Markers) -> tuple[dict[str, str], list[str]]:
    """Give the variables that a write sets, and the names that it unsets."""
    ours = dict(zip(NAMES, markers, strict=True))
    both = {ALTERNATIVE: state.alternative.value, CYCLE: state.cycle.value}
    return both | {name: value for name, value in ours.items() if value}, [n for n, value in ours.items() if not value]


def _absent(path: str | Inside) -> Environment:
    try:
        with translated():
            blockfile.require_script(path)
    except errors.BlockMissingError as error:
        return Environment(path, Condition.ABSENT, None, error)
    return Environment(path, Condition.ABSENT, _assumed(path), None)


def _assumed(path: str | Inside) -> BlockState:
    with translated():
        return FACTORY._replace(alternative=trusted.taken_by_grub(path) or FACTORY.alternative)


def _interpret(path: str | Inside, variables: dict[str, str], markers: Markers) -> BlockState:
    alternative = variables.get(ALTERNATIVE) or FACTORY.alternative.value
    cycle = variables.get(CYCLE) or FACTORY.cycle.value
    for name, value, known in ((ALTERNATIVE, alternative, tuple(Slot)), (CYCLE, cycle, tuple(Cycle))):
        if value not in known:
            raise errors.BlockDamagedError(
                f"cannot read {path}: {name} is '{text.one_line(value)}', which is not one of {', '.join(known)}",
                hint=f"set it with `grubenv {path} set {name}=...`"
                if isinstance(path, str)
                else f"take the file out with mcopy, set it with `grubenv FILE set {name}=...`, and put it back",
            )
    return BlockState(Slot(alternative), Cycle(cycle), markers.left if cycle == Cycle.FAILSAFE_CHECK else 0)


_ERRORS: dict[type[Exception], type[errors.ManagebootError]] = {
    grubenv.DamagedError: errors.BlockDamagedError,
    grubenv.AbsentError: errors.BlockMissingError,
    grubenv.NotRegularError: errors.BlockMissingError,
    grubenv.NoRoomError: errors.BlockFullError,
    grubenv.NotAtomicError: errors.BlockNotAtomicError,
    grubenv.CannotCreateError: errors.CreateError,
    grubenv.LockedError: errors.LockedError,
    grubenv.NotPermittedError: errors.NotPermittedError,
    grubenv.StorageError: errors.DeviceError,
    grubenv.GrubEnvError: errors.ManagebootError,
}
"""What the library's errors are called here, by class. A name or value that no line can hold would be a bug of ours."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of the library as this program's."""
    try:
        yield
    except grubenv.GrubEnvError as error:
        raise _translate(error) from error


def _translate(error: grubenv.GrubEnvError) -> errors.ManagebootError:
    # After a failed flush, what the disk holds now matters more than that it failed.
    now = f"; the block is now {error.now}" if isinstance(error, grubenv.StorageError) and error.now else ""
    return _kind(error)(f"{error}{now}", hint=error.hint or None)


def _kind(error: grubenv.GrubEnvError) -> type[errors.ManagebootError]:
    return next(_ERRORS[known] for known in type(error).__mro__ if known in _ERRORS)
