"""Getting a sound block out of damaged bytes: what can be read, what is lost, and what is uncertain. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from grubenv import view
from grubenv.block import EnvBlock, Line, make_line, name_fault
from grubenv.diagnosis import CR_LF_SIGNATURE, excess
from grubenv.layout import ASSIGNMENT, BLOCK, PADDING_BYTE
from grubenv.view import DEFAULT_SIZE, SECTOR_SIZE, SIGNATURE, text

_PLAUSIBLE = re.compile(rb"[A-Za-z_][A-Za-z0-9_.-]*=[^\x00-\x08\x0e-\x1f\x7f]*")
"""An assignment that is taken for one even where no signature vouches for the bytes around it."""
_SHOWN_BYTES = 60


class Salvage(NamedTuple):
    """What was got out of damaged bytes."""

    lines: tuple[Line, ...]
    lost: tuple[str, ...]
    """What could not be kept, for people; as long as it is empty, every variable is known."""
    unsure: tuple[str, ...]
    """What was kept without being certain."""


def salvage(data: bytes) -> Salvage:
    """Return the lines that can still be read, the last value of each name in its first place.

    Behind a signature a line counts as readable if the strict reading takes it. Without one, only if it lies
    between two newlines, or between the beginning and a newline, and looks like an assignment of a boot script.
    """
    if not data.strip(b"\0"):
        return Salvage((), ("the whole content",) if data else ("everything, as there is no content",), ())
    end = excess(data)
    if data.startswith(CR_LF_SIGNATURE):
        found = _behind_signature(data.replace(b"\r\n", b"\n"))
    elif data.startswith(SIGNATURE):
        found = _behind_signature(data if end is None else data[:end])
    else:
        found = _without_signature(data)
    return found._replace(lines=_once(found.lines))


def mended(found: Salvage, size: int, fallback: Mapping[str, str]) -> tuple[EnvBlock, tuple[str, ...]]:
    """Return the block that a repair writes, and the names of the fallback that it takes.

    It has `size` bytes, or the usual size where the lines need it.

    The names of the fallback make a state together: if any of them is lost, all of them are set. None is set
    where nothing was lost, as a name that is not there was not there before either.

    Raises:
        BadNameError, BadValueError: the fallback cannot be written.
        NoRoomError: the lines do not fit.
    """
    names = {line.name for line in found.lines}
    taken = fallback if found.lost and not fallback.keys() <= names else {}
    front = [make_line(name, value) for name, value in taken.items()]
    lines = [*front, *(line for line in found.lines if line.name not in taken)]
    needed = len(SIGNATURE) + sum(len(line.raw) for line in lines)
    if needed > size:
        size = max(size, DEFAULT_SIZE)
    return EnvBlock(max(size, needed), lines).resize(size), tuple(taken)


def size_for(data: bytes) -> int:
    """Return the size, in bytes, that the mended block is to have: its own, if a block can have it."""
    return len(data) if len(data) >= SECTOR_SIZE else DEFAULT_SIZE


def _behind_signature(data: bytes) -> Salvage:
    parsed = BLOCK.parse(data)
    lines, lost, unsure = [], [], []
    for piece in parsed.lines:
        line, problem = _keep(piece.raw)
        lines += [line] if line else []
        lost += [f"{_shown(piece.raw)} at offset {piece.offset}: {problem}"] if problem and not line else []
        unsure += [f"{_shown(piece.raw)} at offset {piece.offset}: {problem}"] if problem and line else []
    tail = parsed.padding.rstrip(PADDING_BYTE)
    if not tail.strip(PADDING_BYTE + b"\0"):
        if b"\0" in tail:
            lost.append(f"NUL bytes from offset {parsed.padding_offset + tail.index(0)} on, which may have been lines")
        return Salvage(tuple(lines), tuple(lost), tuple(unsure))
    followed = len(tail) < len(parsed.padding)
    if followed and not parsed.padding.startswith(PADDING_BYTE) and _PLAUSIBLE.fullmatch(tail):
        lines.append(_assignment(tail + b"\n"))
        unsure.append(f"{_shown(tail)} at offset {parsed.padding_offset}: its end was missing")
    else:
        lost.append(f"{_shown(tail.strip(PADDING_BYTE))} at offset {parsed.padding_offset}: not a finished line")
    return Salvage(tuple(lines), tuple(lost), tuple(unsure))


def _keep(raw: bytes) -> tuple[Line | None, str]:
    """Return the line to keep, and what is wrong with it, if anything."""
    if raw.startswith(PADDING_BYTE):
        return (Line(raw), "") if b"\0" not in raw else (None, "NUL bytes")
    if b"=" not in raw:
        return None, "no '='" if raw.strip() else ""
    name, _, value = raw[:-1].partition(b"=")
    fault = name_fault(name)
    if fault:
        return None, fault
    problem = "cut at the NUL, as GRUB does" if b"\0" in value else ""
    value = _without_carriage_returns(value.partition(b"\0")[0])
    return _assignment(name + b"=" + value + b"\n"), problem


def _without_carriage_returns(value: bytes) -> bytes:
    """Return the value without those at its end, nor a backslash that would then hide the line's end."""
    while True:
        if _hides_next(value):
            value = value[:-1]
        if not value.endswith(b"\r"):
            return value
        value = value[:-1]


def _without_signature(data: bytes) -> Salvage:
    lines = [
        _assignment(piece + b"\n")
        for piece in re.split(rb"\r?\n", data)[:-1]
        if _PLAUSIBLE.fullmatch(piece) and not _hides_next(piece)
    ]
    return Salvage(
        tuple(lines),
        ("whatever stood in the unreadable bytes",),
        tuple(f"{_shown(line.raw)}: no signature vouches for it" for line in lines),
    )


def _hides_next(piece: bytes) -> bool:
    """Return whether a backslash at the end hides the byte that follows."""
    return (len(piece) - len(piece.rstrip(b"\\"))) % 2 == 1


def _assignment(raw: bytes) -> Line:
    pair = ASSIGNMENT.parse(raw[:-1])
    return Line(raw, text(pair.name), text(pair.value))


def _once(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the lines with one for each name: the last value, which GRUB believes, in the first place."""
    last = {line.name: line for line in lines if line.name is not None}
    kept = []
    for line in lines:
        if line.name is None:
            kept.append(line)
        elif line.name in last:
            kept.append(last.pop(line.name))
    return tuple(kept)


def _shown(data: bytes) -> str:
    cut = data.rstrip(b"\n")
    return repr(text(cut[:_SHOWN_BYTES])) + ("..." if len(cut) > _SHOWN_BYTES else "")


def same_for_grub(one: bytes, other: bytes) -> bool:
    """Return whether GRUB reads the same out of both, be it nothing at all."""
    refused = view.refused(one) is not None, view.refused(other) is not None
    if any(refused):
        return all(refused)
    return view.variables(one) == view.variables(other)
