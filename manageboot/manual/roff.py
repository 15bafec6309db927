"""A manual page in the language of man(7), from the Markdown that our documents are written in."""

import re
from collections.abc import Iterator

_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}

_MARKED = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\*(.+?)\*|\[(.+?)\]\([^)]*\)")

_MEANING = "meaning"

_BULLET = re.compile(r"(-|\d+\.) +(.*)", re.DOTALL)


def plain(text: str) -> str:
    """Write text so that it is shown as it is, on one line."""
    return _no_request(_escaped(text))


def inline(text: str) -> str:
    """Write a line of Markdown: code and what is important in bold, other stress in italics, of a link its words."""
    return _no_request(_inline(text))


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in _MARKED.finditer(text):
        parts.append(_escaped(text[end : found.start()]))
        code, bold, italic, link = found.groups()
        words = code or bold or italic
        parts.append(_inline(link) if link is not None else rf"\f{'I' if italic else 'B'}{_escaped(words)}\fR")
        end = found.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(char, char if char.isascii() else f"\\[u{ord(char):04X}]") for char in text)


def _no_request(line: str) -> str:
    """Keep a line that begins with a dot from being taken for a request."""
    return rf"\&{line}" if line.startswith(".") else line


def page(lines: list[str]) -> str:
    """Put a page together; right behind a heading, a paragraph begins by itself."""
    kept = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if line != ".PP" or above[:3] not in {".SH", ".SS"}
    ]
    return "\n".join(kept) + "\n"


def title(name: str, section: int, date: str) -> list[str]:
    """Begin a page."""
    return [f".TH {name.upper()} {section} {date} manageboot"]


def section(heading: str) -> list[str]:
    """Begin a section."""
    return [f'.SH "{plain(heading.upper())}"']


def paragraph(text: str) -> list[str]:
    """Write a paragraph of Markdown."""
    return [".PP", *_filled(text)]


def item(tag: str, *paragraphs: str) -> list[str]:
    """Write what a tag in bold means, both in Markdown."""
    lines = [".TP", inline(tag)]
    for number, text in enumerate(paragraphs):
        lines += [".br"] * (number > 0) + _filled(text)
    return lines


def verbatim(text: str) -> list[str]:
    """Write lines as they are."""
    return [".PP", ".RS 4", ".EX", *(plain(line) for line in text.splitlines()), ".EE", ".RE"]


def _filled(text: str) -> list[str]:
    return [inline(" ".join(text.split()))]


def markdown(text: str) -> list[str]:
    """Write a document without its title: a heading of the second level is a section, of the third a subsection."""
    lines: list[str] = []
    for kind, block in _blocks(text):
        if kind == "##":
            lines += section(block)
        elif kind == "###":
            lines += [f'.SS "{inline(block)}"']
        elif kind == "```":
            lines += verbatim(block)
        elif kind == "|":
            for cells in table(block):
                lines += item(*cells)
        elif kind == "-":
            mark, _, rest = block.partition(" ")
            lines += [r".IP \(bu 4" if mark == "-" else f".IP {plain(mark)} 4", *_filled(rest)]
        elif kind == "text":
            lines += paragraph(block)
    return lines


def table(block: str) -> Iterator[list[str]]:
    """Give each row: its first cell or that of the row above, its meaning, and the others with their headings."""
    (_, *head), _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
    main = head.index(_MEANING) if _MEANING in head else 0
    first = ""
    for cells in rows:
        first = cells[0] or first
        others = [f"{name}: {cell}" for name, cell in zip(head, cells[1:], strict=True) if cell and name != head[main]]
        yield [first, cells[1 + main], *others]


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Cut a document into blocks, each with what it is: a heading, a table, code, an item, or a paragraph."""
    kind = ""
    block: list[str] = []
    for line in text.splitlines():
        if kind == "```":
            if line.startswith("```"):
                yield kind, "\n".join(block)
                kind, block = "", []
            else:
                block.append(line)
            continue
        begins = next(
            (one for one in ("```", "###", "##", "#", "|") if line.startswith(one)), "-" if _BULLET.match(line) else ""
        )
        if begins == "|" and kind == "|":
            block.append(line)
        elif begins or not line.strip():
            if block:
                yield kind, "\n".join(block)
            kind, block = begins, [] if begins in {"", "```"} else [line.lstrip("# ") if "#" in begins else line]
            if "#" in begins:
                yield kind, block[0]
                kind, block = "", []
        else:
            kind = kind or "text"
            block.append(line.strip())
    if block:
        yield kind, "\n".join(block)
