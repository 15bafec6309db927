"""In which order the sectors of a changed block are to be written, so that every instant reads as old or new."""

from __future__ import annotations

from typing import NamedTuple

from grubenv import view
from grubenv.block import EnvBlock
from grubenv.errors import DamagedError, NotAtomicError, ReadingsDifferError
from grubenv.view import SECTOR_SIZE


class Step(NamedTuple):
    """Write one sector; flush before the next step."""

    offset: int
    length: int
    image: bytes
    """The whole block as it is once this step is done."""


def plan(old: bytes, new: EnvBlock) -> list[Step]:
    """Return the sector writes that turn the bytes `old` into the block `new`, none if nothing changes.

    Raises:
        NotAtomicError: no order of the writes is safe at every instant.
        ReadingsDifferError: GRUB would read something else out of the new bytes than is wanted.
    """
    target = new.build()
    if view.variables(target) != dict(new):
        raise ReadingsDifferError("the new bytes would not read as wanted", verb="update")
    if len(old) != len(target):
        raise NotAtomicError(f"its size would change from {len(old)} to {len(target)} bytes", verb="update")
    offsets = [offset for offset in range(0, len(target), SECTOR_SIZE)
               if old[offset:offset + SECTOR_SIZE] != target[offset:offset + SECTOR_SIZE]]
    for order in (offsets[::-1], offsets):
        steps = _steps(old, target, order)
        if len(steps) <= 1 or all(_is_safe(step.image, EnvBlock.parse(old), new) for step in steps[:-1]):
            return steps
    raise NotAtomicError(f"the change spreads over {len(offsets)} sectors of {SECTOR_SIZE} bytes", verb="update")


def _steps(old: bytes, target: bytes, order: list[int]) -> list[Step]:
    image = bytearray(old)
    steps = []
    for offset in order:
        sector = target[offset:offset + SECTOR_SIZE]
        image[offset:offset + len(sector)] = sector
        steps.append(Step(offset, len(sector), bytes(image)))
    return steps


def _is_safe(image: bytes, old: EnvBlock, new: EnvBlock) -> bool:
    """Return whether a power cut that leaves `image` leaves a sound block with the old or the new variables.

    Duplicates that were not there before are not safe: what GRUB then saves, it would not load.
    """
    try:
        block = EnvBlock.parse(image)
    except DamagedError:
        return False
    if not frozenset(block.duplicates) <= frozenset(old.duplicates):
        return False
    return dict(block) in (dict(old), dict(new))
