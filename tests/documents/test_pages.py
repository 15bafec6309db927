"""Links lead somewhere, commands are ones that the program takes, and the site has every page."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from documents import pages
from documents.pages import DOCS, ROOT
from manageboot import errors
from manageboot.cli import parser

NAMES = [str(page.relative_to(ROOT)) for page in pages.pages()]


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str):
    page = ROOT / name
    broken = []
    for target in pages.links(page):
        path, _, anchor = target.partition("#")
        place = page.parent / path if path else page
        if re.match(r"https?://", target):
            continue
        if not place.exists() or (anchor and anchor not in pages.anchors(place)):
            broken.append(target)
    assert broken == []


def commands(page: Path) -> list[tuple[int, list[str]]]:
    """The command lines of manageboot that a page shows to be typed, without those with words to be filled in."""
    found = []
    for fence in pages.fences(page):
        if fence.language == "console":
            typed = [step.typed for step in pages.steps(fence)]
        elif fence.language == "sh":
            typed = fence.text.replace("\\\n", " ").splitlines()
        else:
            continue
        for line in typed:
            simple = re.split(r" *(?:\||&&|;|>) *", line)[0]
            match = re.match(r"(?:# |\$ )?(manageboot|mb) (.*)", simple)
            if match is not None:
                found.append((fence.line, shlex.split(match[2])))
    return found


WITH_COMMANDS = [name for name in NAMES if commands(ROOT / name)]


def test_there_are_commands_in_the_pages_that_have_some():
    assert {"README.md", "docs/start.md", "docs/recovery.md"} <= set(WITH_COMMANDS)


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_the_program_takes_each_command(name: str):
    refused = []
    for line, words in commands(ROOT / name):
        try:
            parser.parse(list(words))
        except errors.UsageError as error:
            refused.append(f"line {line}: {' '.join(words)}: {error}")
    assert refused == []


def test_each_configuration_in_a_page_is_toml():
    for page in pages.pages():
        for fence in pages.fences(page):
            if fence.language == "toml":
                tomllib.loads(fence.text)


def test_the_site_has_every_page():
    settings = (DOCS / "mkdocs.yml").read_text()
    listed = set(re.findall(r": ([\w-]+\.md)$", settings, re.MULTILINE))
    beside = {"CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "systemd-units.md"}
    assert listed == {page.name for page in DOCS.glob("*.md")} | beside


def test_every_page_is_reached_from_the_readme():
    seen: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen:
            continue
        seen.add(page)
        targets = (target.partition("#")[0] for target in pages.links(page) if not target.startswith("http"))
        ahead += [(page.parent / target).resolve() for target in targets if target.endswith(".md")]
    assert set(pages.pages()) <= seen
