"""What `--help` says: it fits a screen, names each verb once, and no example in it is wrong."""

import argparse
import shlex

import pytest

from manageboot.cli import parser, usage

LINES_MAX = 40
COLUMNS = 80


def verbs() -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb, by the verb's own name."""
    [action] = [one for one in parser.whole()._actions if isinstance(one, argparse._SubParsersAction)]
    return {name: verb for name, verb in action.choices.items() if verb.get_default("verb") == name}


@pytest.fixture(autouse=True)
def _a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


def fits(text: str) -> bool:
    return all(len(line) <= COLUMNS for line in text.splitlines())


def test_the_overview_fits_in_two_screens_and_names_each_verb_once():
    shown = parser.whole().format_help()
    assert fits(shown)
    assert len(shown.splitlines()) <= 2 * 24
    for name in verbs():
        assert [line.split()[0] for line in shown.splitlines() if line.strip()].count(name) == 1, name


@pytest.mark.parametrize("verb", verbs())
def test_the_help_of_a_verb_fits_a_screen_and_has_examples(verb: str):
    shown = verbs()[verb].format_help()
    assert fits(shown)
    assert len(shown.splitlines()) <= LINES_MAX
    assert "\nexamples:\n  " in shown


@pytest.mark.parametrize("verb", verbs())
def test_every_option_of_a_verb_is_explained(verb: str):
    assert [action.dest for action in verbs()[verb]._actions if action.option_strings and not action.help] == []


def test_examples_and_groups_are_of_verbs_that_there_are():
    grouped = [name for names in usage.GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(verbs()) == sorted(usage.EXAMPLES)


@pytest.mark.parametrize("verb", usage.EXAMPLES)
def test_an_example_is_a_command_line(verb: str):
    called = []
    for example in usage.EXAMPLES[verb]:
        for command in example.command.split(" | "):
            program, *arguments = shlex.split(command.partition(" >")[0])
            if program == "manageboot":
                called.append(parser.parse(arguments).verb)
    assert set(called) == {verb}
