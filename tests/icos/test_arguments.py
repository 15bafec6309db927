"""What the old command lines ask for."""

import pytest

from manageboot.errors import UsageError
from manageboot.icos.arguments import ACTIONS, QUERIES, Request, parse

CASES = {
    "guestos upgrade-install image.bin": Request("upgrade-install", ("image.bin",), ("guestos",)),
    "hostos upgrade-install boot.img root.img": Request("upgrade-install", ("boot.img", "root.img"), ("hostos",)),
    "guestos upgrade-install image.bin --sha256 00": Request(
        "upgrade-install", ("image.bin", "--sha256", "00"), ("guestos",)
    ),
    "guestos upgrade-commit": Request("upgrade-commit", (), ("guestos",)),
    "guestos upgrade-commit --no-reboot": Request("upgrade-commit", ("--no-reboot",), ("guestos",)),
    "upgrade-commit": Request("upgrade-commit"),
    "install boot.img root.img": Request("install", ("boot.img", "root.img")),
    "-f /tmp/grubenv hostos target": Request("target", (), ("--grubenv=/tmp/grubenv", "hostos")),
    "-f/tmp/grubenv target": Request("target", (), ("--grubenv=/tmp/grubenv",)),
    "-f -c hostos target": Request("target", (), ("--grubenv=-c", "hostos")),
    "--nocheck guestos upgrade-install image.bin": Request("upgrade-install", ("image.bin",), ("guestos",), False),
    "-f g --nocheck confirm": Request("confirm", (), ("--grubenv=g",), False),
    "guestos confirm stray words": Request("confirm", (), ("guestos",)),
    "guestos current --json": Request("current", (), ("guestos",)),
    "help": Request("help"),
    "--help": Request("help"),
    "guestos help": Request("help"),
}


@pytest.mark.parametrize("line", CASES)
def test_a_command_line(line: str):
    assert parse(line.split()) == CASES[line]


@pytest.mark.parametrize("system", ["", "guestos ", "hostos "])
@pytest.mark.parametrize("action", [*QUERIES, "confirm"])
def test_each_action_with_and_without_a_system_type(system: str, action: str):
    assert parse(f"{system}{action}".split()) == Request(action, (), tuple(system.split()))


REFUSED = {
    "": "there is no action",
    "guestos": "there is no action",
    "guestos bogus": "bogus is not an action",
    "upgrade": "upgrade is not an action",
    "setupos confirm": "setupos is not a system type",
    "-x guestos confirm": "-x is not an option",
    "-c /tmp/config guestos confirm": "-c is not an option",
    "-f": "-f takes a file",
    "install boot.img": "install takes BOOT_IMG and ROOT_IMG",
    "rollback": "rollback is not an action",
}


@pytest.mark.parametrize("line", REFUSED)
def test_a_command_line_that_makes_no_sense(line: str):
    with pytest.raises(UsageError) as caught:
        parse(line.split())
    assert str(caught.value) == f"cannot run: {REFUSED[line]}"


def test_the_verbs_have_the_names_of_the_actions():
    from manageboot.cli import main, parser

    for action in ACTIONS:
        if action != "install":
            options = parser.parse([action, "image"] if action == "upgrade-install" else [action])
            assert options.verb in main._HANDLERS
