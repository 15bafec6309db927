"""The manual pages: two readers of such pages find no fault in them, and nothing is missing there."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from grubenv.cli.arguments import Arguments
from grubenv.cli.commands import COMMANDS
from manageboot import errors
from manageboot.manual import commands, pages, roff

PAGES = ("manageboot.1", "manageboot.toml.5", "manageboot.service.8", "grubenv.1")
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("man")
    for name, text in pages.pages().items():
        (directory / name).write_text(text)
    return directory


def shown(page: Path) -> str:
    """A page as it is read, with each white space as one blank."""
    command = ["mandoc", "-T", "utf8", "-O", "width=300", str(page)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return " ".join(re.sub(".\b", "", done.stdout).split())


def test_these_are_the_pages(made: Path):
    assert sorted(path.name for path in made.iterdir()) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("reader", ["mandoc -T lint -W warning", "groff -man -ww -K utf8 -T utf8 -z"])
def test_no_reader_complains(made: Path, page: str, reader: str):
    done = subprocess.run([*shlex.split(reader), made / page], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_verb_option_and_example_is_there(made: Path):
    text = shown(made / "manageboot.1")
    program = commands.manageboot()
    for command in (program, *program.commands):
        assert set(command.names) <= set(text.split(" ")) | set(re.findall(r"[\w-]+", text)), command.name
        for option in command.options:
            assert ", ".join(option.names) in text, option
            assert option.text in text, option
        for line in command.epilog.splitlines() if command is not program else ():
            assert " ".join(line.split()) in text.replace("Examples:", "examples:"), line


def test_every_exit_status_and_code_word_is_there(made: Path):
    text = shown(made / "manageboot.1")
    kinds = [errors.ManagebootError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if "code" in vars(kind):
            assert f"{kind.exit_code}, {kind.code} " in text, kind


def test_the_settings_are_those_of_the_document(made: Path):
    text = shown(made / "manageboot.toml.5")
    documented = re.findall(r"^\| `([\w.]+)` \|", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    assert len(documented) > 20
    assert [key for key in documented if f" {key} " not in text] == []


def test_the_service_is_described_to_the_last_paragraph(made: Path):
    text = shown(made / "manageboot.service.8")
    for words in (
        "It flushes what GRUB wrote at this boot, because GRUB does not",
        "A PERSON AT WORK",
        "INSTALLING IT",
    ):
        assert words in text


def test_all_that_grubenv_takes_is_there(made: Path):
    text = shown(made / "grubenv.1")
    program = commands.grubenv()
    assert {command.name for command in program.commands} == set(COMMANDS)
    for command in program.commands:
        for option in command.options:
            assert f"{', '.join(option.names)} {option.value.name if option.value else ''}".strip() in text, option
            for name in option.names:
                # It is taken there.
                Arguments([name, *(["x"] if option.value else []), command.name])


@pytest.mark.parametrize("example", pages.GRUBENV_EXAMPLES)
def test_an_example_of_grubenv_is_a_command_line(example: str):
    program, *words = shlex.split(example)
    assert (program, Arguments(words).command in COMMANDS) == ("grubenv", True)


@pytest.mark.parametrize(
    ("text", "roffed"),
    [
        (".begins with a dot", r"\&.begins with a dot"),
        ("'quoted'", r"\(aqquoted\(aq"),
        (r"a\b", r"a\eb"),
        ("--disk", r"\-\-disk"),
        ("… and", r"\[u2026] and"),
    ],
)
def test_nothing_in_a_text_is_taken_for_a_request(text: str, roffed: str):
    assert roff.plain(text) == roffed


def test_a_document_becomes_a_page():
    document = """# Title

A `word` and a [link
over lines](x.md#y), **much**.

## Part

1. one
   and more
2. two

| key | default | meaning |
|---|---|---|
| `a` | `1` | what a is |
| | | and b |

```toml
- x
```
"""
    assert roff.markdown(document) == [
        ".PP", r"A \fBword\fR and a link over lines, \fBmuch\fR.", '.SH "PART"', ".IP 1. 4", "one and more",
        ".IP 2. 4", "two", ".TP", r"\fBa\fR", "what a is", ".br", r"default: \fB1\fR", ".TP", r"\fBa\fR", "and b",
        ".PP", ".RS 4", ".EX", r"\- x", ".EE", ".RE",
    ]  # fmt: skip
