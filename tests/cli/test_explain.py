"""`explain`: every word that a person may meet is explained, from the same texts as the documents."""

import re
from pathlib import Path

import pytest

import manageboot
from manageboot import errors
from manageboot.boot.fallback import Cause
from manageboot.cli import explain, main, remedies
from manageboot.report import doctor

ROOT = Path(manageboot.__file__).parent
DOCS = ROOT.parent / "docs"


def rows(page: str, title: str) -> list[list[str]]:
    """The rows of the table of a section, without its head."""
    text = (DOCS / page).read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"][2:]


def said(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main.run(["explain", *arguments]) == 0
    shown = capfd.readouterr()
    assert shown.err == ""
    return shown.out


def test_each_error_has_a_remedy():
    assert {kind.code for kind in explain.error_kinds()} == set(remedies.ERRORS)
    assert len({kind.code for kind in explain.error_kinds()}) == len(explain.error_kinds())


def test_the_findings_mean_what_the_document_says():
    documented = {code.strip("`"): means for code, means in rows("command-line.md", "What doctor finds")}
    assert {code: f"{means[:1].upper()}{means[1:]}." for code, means in documented.items()} == remedies.FINDINGS
    assert list(remedies.FINDINGS) == list(doctor.REMEDIES)


def test_the_causes_of_a_fallback_ask_for_what_the_document_says():
    documented = {cause.strip("`"): what for cause, _, what in rows("operations.md", "The causes of a fallback")}
    assert documented == remedies.FALLBACKS
    assert set(remedies.FALLBACKS) == set(Cause)


def test_every_problem_in_status_can_be_explained():
    source = (ROOT / "report" / "status.py").read_text()
    words = set(re.findall(r'"code": "([A-Z_]+)"', source))
    assert words >= {"FELL_BACK", "DEVICE_LOST"}
    assert words <= {one.word for one in explain.explanations()}


@pytest.mark.parametrize("one", explain.explanations(), ids=lambda one: f"{one.word}, {one.kind}")
def test_each_word_is_explained(capfd: pytest.CaptureFixture[str], one: explain.Explanation):
    shown = said(capfd, one.word)
    assert f"{one.word} ({one.kind})\n" in shown
    plain = " ".join(shown.split())
    assert one.meaning in plain
    assert f"What to do: {one.remedy}" in plain
    assert one.meaning.endswith(".")
    assert one.remedy.endswith(".")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_word_may_be_given_as_it_was_printed(capfd: pytest.CaptureFixture[str]):
    assert said(capfd, "[NO_WAY_BACK]") == said(capfd, "no_way_back") == said(capfd, "NO_WAY_BACK")


def test_a_word_of_two_things_is_explained_for_both(capfd: pytest.CaptureFixture[str]):
    shown = said(capfd, "NO_BLOCK")
    assert "NO_BLOCK (error, exit status 66)\n" in shown
    assert "\n\nNO_BLOCK (finding of doctor)\n" in shown


def test_without_a_word_all_are_listed(capfd: pytest.CaptureFixture[str]):
    listed = re.findall(r"^  (\S+)$", said(capfd), re.MULTILINE)
    assert listed == [one.word for one in explain.explanations()]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("NO_WAY_BAK", "NO_WAY_BACK is the nearest; `manageboot explain` lists all"),
        ("died_later", "died-later is the nearest; `manageboot explain` lists all"),
        ("", "`manageboot explain` lists all"),
        ("xyzzy", "`manageboot explain` lists all"),
    ],
)
def test_an_unknown_word_is_a_usage_error(capfd: pytest.CaptureFixture[str], word: str, hint: str):
    assert main.run(["explain", word]) == errors.UsageError.exit_code
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == (
        f"manageboot: error: cannot explain {word!r}: there is no such code word [USAGE]\nhint: {hint}\n"
    )


def test_it_needs_no_configuration(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    assert main.run(["-c", f"{tmp_path}/nothing.toml", "explain", "CONFIG"]) == 0
    assert capfd.readouterr().out.startswith("CONFIG (error, exit status 78)\n")


def test_a_page_that_a_message_names_is_there():
    named = {
        (path.name, page)
        for path in ROOT.rglob("*.py")
        for page in re.findall(r"\b(?:docs/)[\w-]+\.md\b", path.read_text())
    }
    assert named
    assert [one for one in named if not (ROOT.parent / one[1]).is_file()] == []
