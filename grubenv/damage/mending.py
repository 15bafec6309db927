"""The block that a repair makes of what was salvaged, and whether it can be written in place. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from grubenv import view
from grubenv.block import EnvBlock, Line, drop_last, make_line
from grubenv.damage.diagnosis import excess
from grubenv.damage.salvage import Salvage, salvage
from grubenv.errors import BadValueError, NoRoomError, ReadingsDifferError
from grubenv.view import DEFAULT_SIZE, SECTOR_SIZE, SIGNATURE
from grubenv.writing.order import Step, in_safe_order

_MOST_STEPS = 16
"""Beyond so many sectors a new file is made: each order of them would be tried, and all that lies in between read."""


def size_for(data: bytes) -> int:
    """Return the size, in bytes, that the mended block is to have: its own, if a block can have it."""
    return len(data) if len(data) >= SECTOR_SIZE else DEFAULT_SIZE


def mended(found: Salvage, size: int, fallback: Mapping[str, str]) -> tuple[EnvBlock, tuple[str, ...]]:
    """Return the block that a repair writes, and the names of the fallback that it takes.

    It has `size` bytes, or the usual size where the lines need it. Where they need more, comments go, and then, as far
    as no signature vouches for them, lines that are none of the fallback's; the last ones first.

    The names of the fallback make a state together: where any of them is lost, all of them are set, but for two cases.
    Where nothing was lost, a name that is not there was not there before either. And where GRUB still reads one of
    them, it boots by that one, and a repair changes nothing about what boots.

    Raises:
        BadNameError, BadValueError: the fallback cannot be written.
        NoRoomError: the lines do not fit.
        ReadingsDifferError: GRUB would read something else out of the block than is wanted.
    """
    names = {line.name for line in found.lines}
    spared = not found.lost or fallback.keys() <= names or fallback.keys() & found.read_by_grub
    taken = {} if spared else fallback
    front = [_fallback_line(name, value) for name, value in taken.items()]
    lines = [*front, *(line for line in found.lines if line.name not in taken)]
    needed = len(SIGNATURE) + sum(len(line.raw) for line in lines)
    if needed > size:
        size = max(size, DEFAULT_SIZE)
    for can_go in (lambda line: line.is_filler, lambda line: line.name is None, _is_unvouched(found, fallback)):
        lines = drop_last(lines, size - len(SIGNATURE), can_go)
    block = EnvBlock(size, lines)
    end = excess(block.build())
    if end is not None:  # a comment that is padding up to there, and more behind it
        block = EnvBlock.parse(block.build()[:end]).resize(size)
    if view.variables(block.build()) != dict(block):
        raise ReadingsDifferError("the mended bytes would not read as wanted", verb="repair")
    return block, tuple(taken)


def made_way(found: Salvage, block: EnvBlock, taken: Iterable[str]) -> list[Line]:
    """Return the lines that were found and are not in the mended block, for want of room."""
    stayed, replaced = frozenset(block.lines), frozenset(taken)
    return [line for line in found.lines if line.name not in replaced and line not in stayed and not line.is_filler]


def _fallback_line(name: str, value: str) -> Line:
    if value.endswith("\r"):
        raise BadValueError(f"the value of {name!r} ends with a carriage return, which is a damage", verb="set")
    return make_line(name, value)


def _is_unvouched(found: Salvage, fallback: Mapping[str, str]) -> Callable[[Line], bool]:
    return lambda line: not found.signed and line.name not in fallback


def in_place(data: bytes, block: EnvBlock, fallback: Mapping[str, str]) -> list[Step] | None:
    """Return the writes that mend the bytes in place, or None if an interrupted one could make them worse."""
    target = block.build()

    def is_safe(image: bytes) -> bool:
        if not (same_for_grub(image, data) or same_for_grub(image, target)):
            return False
        try:
            again, _ = mended(salvage(image), len(image), fallback)
        except NoRoomError:
            return False
        return dict(again) == dict(block)

    return in_safe_order(data, target, is_safe, most=_MOST_STEPS)


def same_for_grub(one: bytes, other: bytes) -> bool:
    """Return whether GRUB reads the same out of both, be it nothing at all."""
    refused = view.refused(one) is not None, view.refused(other) is not None
    if any(refused):
        return all(refused)
    return view.variables(one) == view.variables(other)
