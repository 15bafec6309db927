"""Which sectors of a changed block are to be written, so that every instant reads as old or as new."""

from __future__ import annotations

from collections.abc import Iterable

from grubenv import view
from grubenv.block import EnvBlock
from grubenv.errors import DamagedError, NotAtomicError, ReadingsDifferError
from grubenv.view import SECTOR_SIZE
from grubenv.writing.order import Step, in_safe_order, steps_through
from grubenv.writing.staging import NoWayError, stage


def plan(old: bytes, new: EnvBlock, front: Iterable[str] = ()) -> list[Step]:
    """Return the sector writes that turn the bytes `old` into a block with the variables of `new`.

    The last image is `new` byte for byte where an order of its sectors is safe. Where none is, or a name of
    `front` would not lie within the first sector, lines are moved out of the way, see `grubenv.writing.staging`.

    Raises:
        NotAtomicError: no way is safe at every instant.
        ReadingsDifferError: GRUB would read something else out of the new bytes than is wanted.
    """
    needed = tuple(name for name in front if name in new)
    target = new.build()
    if view.variables(target) != dict(new):
        raise ReadingsDifferError("the new bytes would not read as wanted", verb="update")
    if len(old) != len(target):
        raise NotAtomicError(f"its size would change from {len(old)} to {len(target)} bytes", verb="update")
    before = EnvBlock.parse(old)
    if not new.beyond(SECTOR_SIZE, needed):
        steps = in_safe_order(old, target, lambda image: _is_safe(image, before, new))
        if steps is not None:
            return steps
    protected = frozenset(needed) | {name for name in before.keys() | new.keys() if before.get(name) != new.get(name)}

    def is_safe(image: bytes) -> bool:
        return _is_safe(image, before, new, protected)

    try:
        images = stage(old, new, needed, is_safe)
    except NoWayError as exc:
        cause = "the change spreads over several sectors of 512 bytes"
        beyond = new.beyond(SECTOR_SIZE, needed)
        if beyond:
            cause = f"{', '.join(beyond)} would not lie within the first {SECTOR_SIZE} bytes"
        raise NotAtomicError(f"{cause}, and {exc}", verb="update") from exc
    if not all(map(is_safe, images)) or view.variables(images[-1]) != dict(new):
        raise NotAtomicError("no way was found that is safe at every instant", verb="update")
    return steps_through(old, images)


def _is_safe(image: bytes, old: EnvBlock, new: EnvBlock, protected: frozenset[str] | None = None) -> bool:
    """Return whether a power cut that leaves `image` leaves a sound block with the old or the new variables.

    A name that is there twice, and was not before, is not safe: what GRUB then saves, it would not load. With
    `protected` given, this holds for these names only, and for others as long as both lines have one value.
    """
    try:
        block = EnvBlock.parse(image)
    except DamagedError:
        return False
    fresh = frozenset(block.duplicates) - frozenset(old.duplicates)
    if fresh if protected is None else fresh & protected:
        return False
    if any(line.name in fresh and line.value != block[line.name] for line in block.lines if line.name is not None):
        return False
    return dict(block) in (dict(old), dict(new))
