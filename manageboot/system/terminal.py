"""What stdout can show: how wide it is, whether colours, and whether what was drawn may be drawn over."""

import os
from typing import NamedTuple

BOLD = "1"
DIM = "2"
RED = "31"
GREEN = "32"
YELLOW = "33"

_LEAST_COLUMNS = 40
_MOST_COLUMNS = 120
_USUAL = os.terminal_size((80, 24))
_STDOUT = 1


class Screen(NamedTuple):
    """Where a page goes."""

    columns: int = _USUAL.columns
    lines: int = _USUAL.lines
    terminal: bool = False
    """Whether a person looks at it: long lines are broken, and what was drawn can be drawn over."""
    coloured: bool = False

    def paint(self, text: str, style: str) -> str:
        """Give a text a style, where there are colours; an empty style is none."""
        return f"\x1b[{style}m{text}\x1b[0m" if self.coloured and style and text else text


PLAIN = Screen()
"""A pipe or a file."""


def screen() -> Screen:
    """Look at stdout. NO_COLOR and TERM=dumb are obeyed; COLUMNS counts on a terminal that does not tell its width."""
    try:
        if not os.isatty(_STDOUT):
            return PLAIN
        size = os.get_terminal_size(_STDOUT)
    except OSError:
        return PLAIN
    columns = size.columns or _number("COLUMNS") or _USUAL.columns
    dumb = os.environ.get("TERM", "dumb") in {"", "dumb"}
    return Screen(
        columns=min(max(columns, _LEAST_COLUMNS), _MOST_COLUMNS),
        lines=size.lines or _USUAL.lines,
        terminal=not dumb,
        coloured=not dumb and not os.environ.get("NO_COLOR"),
    )


def wrapped(text: str, columns: int) -> list[str]:
    """Break a text into lines, between words where it can be."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > columns:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
        while len(line) > columns:
            lines.append(line[:columns])
            line = line[columns:]
    return [*lines, line]


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0
