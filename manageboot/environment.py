"""The environment block as this program uses it: two variables, read for a query, written for a verb.

The block itself, its bytes and its durability, is the work of the library `grubenv`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import NamedTuple

import grubenv
from manageboot import errors
from manageboot.protocol import FACTORY, BlockState, Cycle, Slot

ALTERNATIVE = "boot_alternative"
CYCLE = "boot_cycle"


class Condition(StrEnum):
    """What there is at the path of the block."""

    OK = "ok"
    EMPTY = "empty"
    ABSENT = "absent"
    DAMAGED = "damaged"


class Environment(NamedTuple):
    """One reading of the environment block."""

    path: str
    condition: Condition
    state: BlockState | None
    """What it tells GRUB; None where it is damaged."""
    problem: errors.ManagebootError | None
    """Why it is damaged."""


def read(path: str) -> Environment:
    """Read what the block tells GRUB. Writes nothing.

    An empty or absent block means what it means to GRUB: slot A, stable.

    Raises:
        InputError, DeviceError, NotPermittedError: the file is there and can't be read.
    """
    try:
        if os.stat(path).st_size == 0:
            return Environment(path, Condition.EMPTY, FACTORY, None)
        with _translated():
            variables = grubenv.query(path)
        return Environment(path, Condition.OK, _interpret(path, variables), None)
    except FileNotFoundError:
        return Environment(path, Condition.ABSENT, FACTORY, None)
    except OSError as error:
        raise errors.from_os_error(error, f"read {path}", errors.InputError) from error
    except errors.BlockDamagedError as error:
        return Environment(path, Condition.DAMAGED, None, error)


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
    if environment.problem is not None:
        raise environment.problem
    if environment.condition is Condition.ABSENT:
        directory = os.path.dirname(environment.path)
        if not os.path.exists(os.path.join(directory, "grub.cfg")):
            raise errors.BlockMissingError(
                f"cannot use {environment.path}: it does not exist, and neither does a grub.cfg beside it",
                hint=f"mount what GRUB reads at {directory}, or make a block with `grubenv {environment.path} create`",
            )
    if environment.condition is Condition.OK:
        with _translated():
            grubenv.read(environment.path)
        try:
            with open(environment.path, "rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise errors.from_os_error(error, f"flush {environment.path}") from error


def write(path: str, state: BlockState) -> None:
    """Tell GRUB what to do at the next boot; all other variables and comments stay.

    Raises:
        BlockDamagedError, BlockMissingError, CreateError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, the block is on the disk and was read back; before, it is the old or the new one.
    """
    with _translated():
        grubenv.update(path, {ALTERNATIVE: state.alternative.value, CYCLE: state.cycle.value}, create_missing=True)


def _interpret(path: str, variables: dict[str, str]) -> BlockState:
    alternative = variables.get(ALTERNATIVE) or FACTORY.alternative.value
    cycle = variables.get(CYCLE) or FACTORY.cycle.value
    for name, value, known in ((ALTERNATIVE, alternative, tuple(Slot)), (CYCLE, cycle, tuple(Cycle))):
        if value not in known:
            raise errors.BlockDamagedError(
                f"cannot read {path}: {name} is {value!r}, which is none of {', '.join(known)}",
                hint=f"set it with `grubenv {path} set {name}=...`",
            )
    return BlockState(Slot(alternative), Cycle(cycle))


_ERRORS: dict[int, type[errors.ManagebootError]] = {
    65: errors.BlockDamagedError,
    66: errors.BlockMissingError,
    73: errors.CreateError,
    75: errors.LockedError,
    77: errors.NotPermittedError,
}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grubenv.GrubEnvError as error:
        kind = _ERRORS.get(error.exit_code, errors.DeviceError)
        raise kind(str(error), hint=error.hint or None) from error
