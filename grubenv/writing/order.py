"""Sector writes, and an order of them that is safe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from grubenv.view import SECTOR_SIZE

_MOST_BYTES = 8 * 1024 * 1024
"""So many bytes of images one order may have, as each of them is read: of a block of 1 MiB, that is 8 sectors."""


class Step(NamedTuple):
    """Write one sector; flush before the next step."""

    offset: int
    length: int
    image: bytes
    """The whole block as it is once this step is done."""


def in_safe_order(
    old: bytes, target: bytes, is_safe: Callable[[bytes], bool], *, most: int | None = None
) -> list[Step] | None:
    """Return the sector writes from `old` to `target`, as long, in an order that is safe at every instant.

    Args:
        is_safe: tells whether a power cut may leave these bytes; it is asked about what lies between the writes.
        most: how many writes there may be; None: as many as the size of the block allows.

    Returns:
        None if there are more writes, or neither from the end to the front nor the other way all that lies in between
        is safe.
    """
    offsets = _changed(old, target)
    affordable = _MOST_BYTES // len(target)
    if len(offsets) > (affordable if most is None else min(most, affordable)):
        return None
    for order in (offsets[::-1], offsets):
        steps = []
        for step in _steps(old, target, order):
            steps.append(step)
            if len(steps) < len(order) and not is_safe(step.image):
                break
        else:
            return steps
    return None


def _steps(old: bytes, target: bytes, order: list[int]) -> Iterator[Step]:
    image = bytearray(old)
    for offset in order:
        sector = target[offset : offset + SECTOR_SIZE]
        image[offset : offset + len(sector)] = sector
        yield Step(offset, len(sector), bytes(image))


def steps_through(old: bytes, images: Iterable[bytes]) -> list[Step]:
    """Return the writes that lead from `old` through the images, each of which differs in one sector from the last.

    Raises:
        ValueError: one of them differs in more.
    """
    steps: list[Step] = []
    for image in images:
        changed = _changed(old, image)
        if len(changed) > 1:
            message = f"sectors at {changed} differ"
            raise ValueError(message)
        steps += _steps(old, image, changed)
        old = image
    return steps


def _changed(old: bytes, target: bytes) -> list[int]:
    return [
        offset
        for offset in range(0, len(target), SECTOR_SIZE)
        if old[offset : offset + SECTOR_SIZE] != target[offset : offset + SECTOR_SIZE]
    ]
