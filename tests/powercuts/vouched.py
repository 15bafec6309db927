"""What a node keeps of releases, beside the block: whole at any instant, never less than was told, nor too early."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple, Self

from manageboot.boot import floor
from manageboot.channel import kept
from manageboot.protocol import Slot
from manageboot.unattended import memory

NAMES = (floor.FILE_NAME, kept.FILE_NAME, memory.FILE_NAME)


class Vouched(NamedTuple):
    """What may only rise; where there is no file, nothing was kept."""

    floor: int = 0
    min_index: int = 0
    root: int = 0
    """The version of the newest root that is trusted."""
    set_aside: int = 0
    """How many releases no update takes again."""

    def most(self, other: "Vouched") -> Self:
        """Return the higher one of each."""
        return type(self)(*map(max, self, other))


def read(files: Mapping[str, bytes]) -> Vouched:
    """Read the files, given by their names.

    Raises:
        ValueError: one is not whole.
    """
    held, state, known = floor.Floor(), kept.Kept(), memory.Memory()
    if floor.FILE_NAME in files:
        held = floor.parse(files[floor.FILE_NAME])
    if kept.FILE_NAME in files:
        state = kept.parse(files[kept.FILE_NAME])
    if memory.FILE_NAME in files:
        known = memory.parse(files[memory.FILE_NAME])
    return Vouched(held.release_index, held.min_index, max(state.roots, default=0), len(known.set_aside))


def missing(files: Mapping[str, bytes], told: Vouched) -> Iterator[str]:
    """Say in words what is not whole, or less than was told."""
    try:
        found = read(files)
    except ValueError as error:
        yield f"what is kept of releases is not whole: {error}"
        return
    for name, value, least in zip(Vouched._fields, found, told, strict=True):
        if value < least:
            yield f"{name} is {value} of what is kept of releases, and {least} was told"


def raised_too_early(files: Mapping[str, bytes], told: Vouched, on_trial: str) -> Iterator[str]:
    """Say in words that the floor has risen, and the block does not know of a confirm yet.

    Args:
        files: by their names; `missing` tells of one that is not whole.
        told: what was kept before.
        on_trial: the slot that a trial is of, by the block; empty: none is.
    """
    with suppress(ValueError):
        found = read(files)
        if on_trial and found.floor > told.floor:
            yield f"the floor is {found.floor} already, and slot {on_trial} is on trial"


def is_behind(content: bytes, slot: str) -> bool:
    """Say whether the floor is lower than the release that a slot holds, by the file of the floor."""
    with suppress(ValueError):
        held = floor.parse(content)
        return floor.raised_by(held, Slot(slot), None) != held
    return False
