"""What is wrong with the bytes of a block, all of it, each with its place. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from grubenv import view
from grubenv.block import EnvBlock
from grubenv.errors import Damage, DamagedError
from grubenv.layout import BLOCK, PADDING_BYTE
from grubenv.view import DEFAULT_SIZE, SECTOR_SIZE, SIGNATURE

_MOST_NAMES = 20
"""How many names one damage lists."""

CR_LF_SIGNATURE = SIGNATURE[:-1] + b"\r\n"


def diagnose(data: bytes, boot_names: Iterable[str] | None = None) -> list[Damage]:
    """Return every damage of the bytes, the most serious ones first; none if they are a block that can be relied on.

    Args:
        data: the whole file.
        boot_names: the names that the boot needs, which have to lie within the first 512 bytes; None: all of them.
    """
    if data.startswith(CR_LF_SIGNATURE):
        return [Damage("cr-lf", len(SIGNATURE) - 1, "lines end with CR LF, the signature too")]
    refusal = view.refused(data)
    if refusal is not None:
        return [refusal]
    damages = []
    if len(data) < SECTOR_SIZE:
        damages.append(Damage("short", None, f"only {len(data)} bytes, where {DEFAULT_SIZE} are usual"))
    end = excess(data)
    if end is not None:
        damages.append(Damage("long", end, f"the file goes on behind a sound block of {end} bytes"))
        data = data[:end]
    try:
        block = EnvBlock.parse(data)
    except DamagedError as error:
        return [*damages, *error.damages, *_carriage_returns(data)]
    damages += _carriage_returns(data)
    damages += _duplicates(block)
    return damages + _beyond(block, boot_names)


def excess(data: bytes) -> int | None:
    """Return where a sound block of the usual size ends, if other bytes follow it that GRUB reads nothing out of."""
    head, tail = data[:DEFAULT_SIZE], data[DEFAULT_SIZE:]
    if not tail.strip(PADDING_BYTE) or not head.endswith(PADDING_BYTE):
        return None
    try:
        sound = EnvBlock.parse(head)
    except DamagedError:
        return None
    return DEFAULT_SIZE if dict(sound) == view.variables(data) else None


def _carriage_returns(data: bytes) -> list[Damage]:
    lines = [
        piece
        for piece in BLOCK.parse(data).lines
        if piece.raw.endswith(b"\r\n") and not piece.raw.startswith(PADDING_BYTE)
    ]
    if not lines:
        return []
    count = "a line ends" if len(lines) == 1 else f"{len(lines)} lines end"
    return [Damage("cr-lf", lines[0].offset + len(lines[0].raw) - 2, f"{count} with CR LF")]


def _duplicates(block: EnvBlock) -> list[Damage]:
    """Return one damage for each name that has several lines, at the second of them."""
    second: dict[str, int] = {}
    seen = set()
    offset = len(SIGNATURE)
    for line in block.lines:
        if line.name is not None and line.name in seen:
            second.setdefault(line.name, offset)
        seen.add(line.name)
        offset += len(line.raw)
    return [Damage("duplicate-name", second[name], f"{name} is set in more than one line") for name in block.duplicates]


def _beyond(block: EnvBlock, boot_names: Iterable[str] | None) -> list[Damage]:
    beyond = block.beyond(SECTOR_SIZE, block if boot_names is None else boot_names)
    if not beyond:
        return []
    more = f" and {len(beyond) - _MOST_NAMES} more" if len(beyond) > _MOST_NAMES else ""
    shown = f"{', '.join(beyond[:_MOST_NAMES])}{more}"
    return [Damage("beyond-first-sector", SECTOR_SIZE, f"{shown} not within the first {SECTOR_SIZE} bytes")]
