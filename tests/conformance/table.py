"""The table of contract.md, as values."""

import re
from pathlib import Path
from typing import NamedTuple

CONTRACT = Path(__file__).parent / "contract.md"


class Cell(NamedTuple):
    """What an action does in a state."""

    answer: str = ""
    """What it prints."""
    status: int = 0
    code: str = ""
    block: str = ""
    """Both values that the block has afterwards; empty: it is untouched."""


class State(NamedTuple):
    """One row."""

    name: str
    booted: str
    block: str
    record: str
    cells: dict[str, Cell]


def states() -> list[State]:
    """Read the table."""
    lines = [line for line in CONTRACT.read_text().splitlines() if line.startswith("|")]
    titles, _, *rows = ([word.strip() for word in line.strip("|").split("|")] for line in lines)
    return [
        State(*row[:4], {title: _cell(text) for title, text in zip(titles[4:], row[4:], strict=True)}) for row in rows
    ]


def _cell(text: str) -> Cell:
    if text in {"A", "B"}:
        return Cell(answer=text)
    match = re.fullmatch(r"(?P<status>\d+)(?: (?P<code>[A-Z_]{2,}))?(?: (?P<block>[AB] \w+))?", text)
    assert match is not None, text
    return Cell("", int(match["status"]), match["code"] or "", match["block"] or "")
