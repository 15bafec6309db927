"""The documents as data: their links, their anchors, and the commands in them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def pages() -> list[Path]:
    """All that people read here: the documents, and what lies beside the sources."""
    found = (path for pattern in ("*.md", "docs/*.md", "systemd-units/*.md") for path in ROOT.glob(pattern))
    return sorted(found)


class Fence(NamedTuple):
    """A block between fences."""

    page: Path
    line: int
    """Where it begins."""
    language: str
    text: str
    section: str = ""
    """The heading above it."""


def fences(page: Path) -> list[Fence]:
    """Give the blocks of a page, in order."""
    text, headings = page.read_text(), [(0, "")]
    headings += [(match.start(), match[1]) for match in re.finditer("^#+ (.+)$", _without_fences(text), re.MULTILINE)]
    return [
        Fence(page, text.count("\n", 0, at) + 1, match[1], match[2], max(one for one in headings if one[0] <= at)[1])
        for match in _FENCE.finditer(text)
        for at in (match.start(),)
    ]


def _without_fences(text: str) -> str:
    """Put spaces in their place, so that all else stays where it is."""
    return _FENCE.sub(lambda match: " " * len(match[0]), text)


def prose(page: Path) -> str:
    """Give a page without its blocks, and without what is shown as code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page.read_text()))


def links(page: Path) -> list[str]:
    """Give the targets of links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Give what GitHub calls the headings of a page; a second one of the same name has a number."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE):
        name = anchor = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{name}-{number}"
        found.add(anchor)
    return found


class Step(NamedTuple):
    """One thing that is typed, and what is shown then."""

    prompt: str
    typed: str
    shown: str


_PROMPTS = re.compile(r"^(# |\$ |node login: |root@node:~# )(?=[^#\s])(.*)$")


def steps(fence: Fence) -> Iterator[Step]:
    """Give what is typed in a block of the kind console, and what is shown after each."""
    prompt = typed = ""
    shown: list[str] = []
    began = False
    for line in fence.text.replace("\\\n", " ").splitlines():
        match = _PROMPTS.match(line)
        # The block of GRUB begins with two lines that look like a prompt.
        if match is None or line.startswith(("# GRUB Environment", "# WARNING")):
            shown.append(line)
            continue
        if began:
            yield Step(prompt, typed, "\n".join(shown))
        prompt, typed, shown, began = match[1], match[2], [], True
    if began:
        yield Step(prompt, typed, "\n".join(shown))
