"""Getting lines out of damaged bytes: what can be read, what is lost, and what is uncertain. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from grubenv import view
from grubenv.block import Line, make_line, name_fault
from grubenv.damage.diagnosis import CR_LF_SIGNATURE, excess
from grubenv.layout import BLOCK, PADDING_BYTE, split
from grubenv.view import SIGNATURE, raw, text

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
    read_by_grub: frozenset[str] = frozenset()
    """The names that GRUB reads out of the damaged bytes as they are."""
    signed: bool = True
    """Whether a signature says that this was a block."""


class _Candidate(NamedTuple):
    """A line that may be kept."""

    line: Line
    raw: bytes
    """Its bytes as they are."""
    offset: int | None
    doubt: str
    """Why it is not certain, or an empty string."""

    @property
    def place(self) -> str:
        """Return its bytes, and where they are."""
        return shown(self.raw) if self.offset is None else f"{shown(self.raw)} at offset {self.offset}"


def salvage(data: bytes) -> Salvage:
    """Return the lines that can still be read, one for each name, in the first place that it had.

    Behind a signature a line counts as readable if the strict reading takes it. Without one, only if it lies
    between two newlines, or between the beginning and a newline, and looks like an assignment of a boot script.

    What GRUB reads out of the damaged bytes goes before that: its variables stay as they are, but for names that no
    line can hold, and for carriage returns at the end of a value.
    """
    if not data.strip(b"\0"):
        return Salvage((), ("the whole content",) if data else ("everything, as there is no content",), ())
    end = excess(data)
    if data.startswith(CR_LF_SIGNATURE):
        candidates, lost = _behind_signature(data.replace(b"\r\n", b"\n"))
    elif data.startswith(SIGNATURE):
        candidates, lost = _behind_signature(data if end is None else data[:end])
    else:
        candidates, lost = _without_signature(data)
    variables = {} if view.refused(data) else view.variables(data)
    signed = data.startswith((SIGNATURE, CR_LF_SIGNATURE))
    return _settled(candidates, lost, variables)._replace(signed=signed)


def _settled(candidates: list[_Candidate], lost: list[str], variables: Mapping[str, str]) -> Salvage:
    """Keep one line for each name: the last one, which GRUB believes, but for those that GRUB reads otherwise.

    Our lines and GRUB's differ where one has no `=` or no newline, and the node boots by GRUB's.
    """
    wanted = {name: value.rstrip("\r") for name, value in variables.items() if not name_fault(raw(name))}
    chosen: dict[str, Line] = {}
    doubts: dict[str, str] = {}
    others: dict[str, _Candidate] = {}
    for candidate in candidates:
        line = candidate.line
        if line.name is None:
            continue
        if wanted.get(line.name, line.value) != line.value:
            others[line.name] = candidate
            continue
        others.pop(line.name, None)
        chosen[line.name] = line
        doubts[line.name] = f"{candidate.place}: {candidate.doubt}" if candidate.doubt else ""
    chosen |= {name: make_line(name, value) for name, value in wanted.items() if name not in chosen}
    kept = []
    for line in (candidate.line for candidate in candidates):
        if line.name is None:
            kept.append(line)
        elif line.name in chosen:
            kept.append(chosen.pop(line.name))
    return Salvage(
        (*kept, *chosen.values()),
        (*lost, *(f"{other.place}: GRUB reads another value" for other in others.values())),
        tuple(filter(None, doubts.values())),
        frozenset(wanted),
    )


def _behind_signature(data: bytes) -> tuple[list[_Candidate], list[str]]:
    parsed = BLOCK.parse(data)
    candidates, lost = [], []
    for piece in parsed.lines:
        line, problem = _keep(piece.raw)
        if line:
            candidates.append(_Candidate(line, piece.raw, piece.offset, problem))
        elif problem:
            lost.append(f"{shown(piece.raw)} at offset {piece.offset}: {problem}")
    tail = parsed.padding.rstrip(PADDING_BYTE)
    if not tail.strip(PADDING_BYTE + b"\0"):
        if b"\0" in tail:
            lost.append(f"NUL bytes from offset {parsed.padding_offset + tail.index(0)} on, which may have been lines")
        return candidates, lost
    found = tail.strip(PADDING_BYTE)
    followed = len(tail) < len(parsed.padding)
    # A backslash at its end would hide the newline that it lacks, and says that more of the value is missing.
    if followed and _PLAUSIBLE.fullmatch(tail) and not _hides_next(tail):
        candidates.append(_Candidate(_assignment(tail), found, parsed.padding_offset, "its end was missing"))
    else:
        lost.append(f"{shown(found)} at offset {parsed.padding_offset}: not a finished line")
    return candidates, lost


def _keep(piece: bytes) -> tuple[Line | None, str]:
    """Return the line to keep, and what is wrong with it, if anything."""
    if piece.startswith(PADDING_BYTE):
        return Line(piece), ""
    if b"=" not in piece:
        return None, "no '='" if piece.strip() else ""
    name, _, value = piece[:-1].partition(b"=")
    fault = name_fault(name)
    if fault:
        return None, fault
    problem = "cut at the NUL, as GRUB does" if b"\0" in value else ""
    return _assignment(name + b"=" + value.partition(b"\0")[0]), problem


def _without_carriage_returns(value: bytes) -> bytes:
    """Return the value without those at its end, nor a backslash that would then hide the line's end."""
    end = len(value)
    while True:
        end -= _hides_next(value, end)
        if not value.endswith(b"\r", 0, end):
            return value[:end]
        end -= 1


def _without_signature(data: bytes) -> tuple[list[_Candidate], list[str]]:
    candidates = []
    hidden = False
    for piece in re.split(rb"\r?\n", data)[:-1]:
        # What follows a hidden newline is the rest of a value, whatever it looks like.
        begins, hidden = not hidden, _hides_next(piece)
        if begins and not hidden and _PLAUSIBLE.fullmatch(piece):
            line = _assignment(piece)
            candidates.append(_Candidate(line, line.raw, None, "no signature vouches for it"))
    return candidates, ["what was in the unreadable bytes"]


def _hides_next(piece: bytes, end: int | None = None) -> bool:
    """Return whether a backslash at the end, or before `end`, hides the byte that follows."""
    end = start = len(piece) if end is None else end
    while piece.endswith(b"\\", 0, start):
        start -= 1
    return (end - start) % 2 == 1


def _assignment(piece: bytes) -> Line:
    """Return the line of an assignment without its newline; what no line can end with goes."""
    name, _, written = piece.partition(b"=")
    piece = name + b"=" + _without_carriage_returns(written)
    _, value = split(piece)
    return Line(piece + b"\n", text(name), text(value))


def shown(data: bytes) -> str:
    """Return the beginning of a line for people."""
    cut = data.rstrip(b"\n")
    return repr(text(cut[:_SHOWN_BYTES])) + ("..." if len(cut) > _SHOWN_BYTES else "")
