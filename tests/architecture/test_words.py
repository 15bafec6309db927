"""One word for one thing: retired words stay out, and what the documents name is there; docs/glossary.md has them."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

INTERFACES = (
    "SECOND_WITNESS_BEHIND",  # a code word of doctor
    "given-up",  # a file in the runtime directory, which an older version may have left
    "--hold",
    '"traces"',  # a key of `status --json`
)
"""Names on the disk or in an interface, in which a retired word may stay."""


class Retired(NamedTuple):
    """A word that is not used any more."""

    pattern: str
    instead: str
    """The term of the glossary."""
    reason: str
    elsewhere: frozenset[str] = frozenset()
    """Files in which the word means another thing."""


RETIRED = {
    "second witness": Retired("second.witness", "trusted slot", "it was two things: a file, and the command line"),
    "errand": Retired("errand", "job", "the field's word"),
    "sight": Retired(r"\bsights?\b", "observation", "the field's word"),
    "traces": Retired(r"\btraces\b|boottrace", "marker", "a trace is what a debugger prints"),
    "withheld": Retired("withh[eo]ld", "header", "the field writes a header last, and withholds nothing"),
    "supervision": Retired("supervision", "policy", "it decides, and supervises nothing"),
    "outside": Retired(r"from\s+outside|_outside\b", "offline", "the field's word for a system that does not run"),
    "inuse": Retired(r"\binuse\b", "disk user", "it is about who uses a disk"),
    "give up": Retired(
        r"\bgiv(?:e|es|en|ing)\b[^.;:|`]{0,24}?\bup\b|\bgivenup\b|\bgiv(?:e|en)_up\b",
        "abort",
        "a person may give up, a trial is aborted",
        frozenset({"docs/grubenv.md"}),
    ),
    "hold": Retired(r"\bthe hold\b", "inhibit", "its own file has that name, and a lock is held as well"),
}

CLUMSY = (
    r"\bat the begin\b",
    r"\bstands? (?:twice|in (?:the )?`)",
    r"(?<!there )\bis no (?:slot|block|file|name|number|link)\b",
    r"\bvouch",
    r"\bsays `manageboot",
)
"""Phrases that readers stumbled over."""


@cache
def read(path: Path) -> str:
    text = path.read_text()
    for name in INTERFACES:
        text = text.replace(name, "")
    return text


def pages() -> list[Path]:
    """What people read: documents, units, and the modules that have the text of --help."""
    units = [path for path in (ROOT / "systemd-units").rglob("*") if path.is_file()]
    helps = [ROOT / name for name in ("manageboot/cli/parser.py", "manageboot/icos/arguments.py")]
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [*DOCS.glob("*.md"), *texts, *units, *helps]


def code() -> list[Path]:
    return [
        path
        for package in ("manageboot", "grubenv")
        for path in (ROOT / package).rglob("*")
        if path.suffix in {".py", ".cfg", ".toml"}
    ]


def found(pattern: str, paths: list[Path]) -> list[str]:
    """Where a pattern is, as FILE:LINE: TEXT; across line breaks, too."""
    places = []
    for path in paths:
        text = read(path)
        for match in re.finditer(pattern, text, re.IGNORECASE):
            line = text.count("\n", 0, match.start()) + 1
            places.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    return places


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_in_no_document(word: str):
    retired = RETIRED[word]
    paths = [path for path in pages() if str(path.relative_to(ROOT)) not in retired.elsewhere]
    assert found(retired.pattern, paths) == [], f"{retired.instead}: {retired.reason}"


@pytest.mark.parametrize("word", list(RETIRED))
def test_a_retired_word_is_not_in_the_code(word: str):
    assert found(RETIRED[word].pattern, code()) == [], f"{RETIRED[word].instead}: {RETIRED[word].reason}"


@pytest.mark.parametrize("pattern", CLUMSY)
def test_a_clumsy_phrase_is_in_no_document(pattern: str):
    assert found(pattern, [path for path in pages() if path.name not in {"grubenv.md", "crash-grubenv.md"}]) == []


def test_what_is_used_instead_is_in_the_glossary():
    terms = re.findall(r"\*\*([a-z ]+)\*\*", (DOCS / "glossary.md").read_text())
    assert {retired.instead for retired in RETIRED.values()} <= set(terms)
    assert len(terms) == len(set(terms))


def test_every_file_that_a_document_names_is_there():
    folders = [ROOT / name for name in ("manageboot", "grubenv", "tests", "qemu-harness", "systemd-units", "docs")]
    files = {f"/{path.relative_to(ROOT)}" for folder in folders for path in folder.rglob("*.*")}
    named = {
        (page.name, name)
        for page in [path for path in pages() if path.suffix == ".md"]
        for name in re.findall(r"`((?:[\w-]+/)*[\w-]+\.(?:py|cfg))`", page.read_text())
    }
    assert [one for one in sorted(named) if not any(file.endswith(f"/{one[1]}") for file in files)] == []


def test_where_to_begin_reading_names_what_is_there():
    section = (DOCS / "architecture.md").read_text().partition("## Where to begin reading")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|([^|]*)\|$", section, re.MULTILINE)[2:]
    assert rows
    for files, names in rows:
        text = "".join((ROOT / "manageboot" / name).read_text() for name in re.findall(r"`([\w/.]+)`", files))
        for name in re.findall(r"`(\w+)`", names):
            defined = rf"^(?:(?:def|class|function) )?{name}\b"
            assert re.search(defined, text, re.MULTILINE), f"{files} defines no {name}"


def test_the_map_is_one_page():
    assert len((DOCS / "architecture.md").read_text().splitlines()) <= 130
