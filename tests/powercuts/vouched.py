"""What a node keeps of releases, beside the block: whole at any instant, and never less than was told."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from manageboot.boot import floor
from manageboot.channel import kept
from manageboot.unattended import memory

NAMES = (floor.FILE_NAME, kept.FILE_NAME, memory.FILE_NAME)


class Vouched(NamedTuple):
    """What may only rise; where there is no file, nothing was kept."""

    floor: int = 0
    min_index: int = 0
    root: int = 0
    """The version of the newest root that is trusted."""


def read(files: Mapping[str, bytes]) -> Vouched:
    """Read the files, given by their names.

    Raises:
        ValueError: one is not whole.
    """
    held, state = floor.Floor(), kept.Kept()
    if floor.FILE_NAME in files:
        held = floor.parse(files[floor.FILE_NAME])
    if kept.FILE_NAME in files:
        state = kept.parse(files[kept.FILE_NAME])
    if memory.FILE_NAME in files:
        memory.parse(files[memory.FILE_NAME])
    return Vouched(held.release_index, held.min_index, max(state.roots, default=0))


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
