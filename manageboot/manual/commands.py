"""The command lines of both programs as data: their commands, options and operands, whoever parses them."""

import argparse
import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from grubenv.cli import commands as grubenv_commands
from manageboot.cli import explain, parser


class Kind(StrEnum):
    """What a value may be completed with."""

    FILE = "file"
    CHOICE = "choice"
    OTHER = "other"


class Value(NamedTuple):
    """A value of an option, or an operand."""

    name: str
    kind: Kind
    choices: tuple[str, ...] = ()
    text: str = ""


class Option(NamedTuple):
    """An option of a command."""

    names: tuple[str, ...]
    text: str
    value: Value | None = None


class Command(NamedTuple):
    """A program, or one of its verbs."""

    names: tuple[str, ...]
    """Its own name, then others that it has."""
    text: str
    options: tuple[Option, ...] = ()
    operands: tuple[Value, ...] = ()
    """Of a program: what may stand before its verb."""
    commands: tuple["Command", ...] = ()
    usage: str = ""
    epilog: str = ""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.names[0]


_FILES = frozenset({"FILE", "DISK", "IMAGE", "DIRECTORY", "FILENAME"})


def manageboot() -> Command:
    """Describe `manageboot`, from its parser."""
    program = _of(parser.whole(), ("manageboot",), "A/B boot and upgrade agent for nodes that boot with GRUB")
    system = Value("SYSTEM", Kind.CHOICE, parser.SYSTEM_TYPES, "with the settings of this system")
    return program._replace(operands=(system,))


def _of(made: argparse.ArgumentParser, names: tuple[str, ...], text: str) -> Command:
    options: list[Option] = []
    operands: list[Value] = []
    commands: list[Command] = []
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += _verbs(action)
        elif action.option_strings:
            value = None if action.nargs == 0 else _value(action)
            options.append(Option(tuple(action.option_strings), action.help or "", value))
        else:
            operands.append(_value(action))
    usage = made.format_usage().removeprefix("usage: ")
    return Command(names, text, tuple(options), tuple(operands), tuple(commands), usage, made.epilog or "")


def _verbs(action: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Iterator[Command]:
    made = {id(verb): verb for verb in action.choices.values()}
    for verb in made.values():
        names = tuple(name for name, one in action.choices.items() if one is verb)
        yield _of(verb, names, (verb.description or "").partition("\n")[0])


def _value(action: argparse.Action) -> Value:
    name = str(action.metavar or action.dest.upper())
    if name == "CODE_WORD":
        words = dict.fromkeys(one.word for one in explain.explanations())
        return Value(name, Kind.CHOICE, tuple(words), action.help or "")
    if action.choices is not None:
        return Value(name, Kind.CHOICE, tuple(action.choices), action.help or "")
    return Value(name, Kind.FILE if name in _FILES else Kind.OTHER, text=action.help or "")


_COMMAND_LINE = re.compile(r"  ([a-z]+)( [A-Z[][^ ]*)? +([A-Z].*)")
_OPTION_LINE = re.compile(r"  ( {4}|-\S+, )((?:-\S+, )*--[a-z-]+)(?: ([A-Z=]+))?(?:\n)? +(\S.*)")


def grubenv() -> Command:
    """Describe `grubenv`, from what its `--help` says. Where that begins with a command, the option belongs to it."""
    listed, _, options = grubenv_commands.HELP.partition("\nOptions:\n")
    found = [
        Option(
            tuple((short + long).strip().split(", ")),
            text,
            Value(value, Kind.FILE if value in _FILES else Kind.OTHER) if value else None,
        )
        for short, long, value, text in _OPTION_LINE.findall(options)
    ]
    owners = {option: option.text.partition(":")[0] for option in found}
    lines = _COMMAND_LINE.findall(listed)
    names = {name for name, _, _ in lines}
    general = tuple(option for option in found if owners[option] not in names)
    verbs = tuple(
        Command(
            (name,),
            text,
            tuple(option for option in found if owners[option] == name) + general,
            (Value(operand.strip(), Kind.OTHER),) if operand else (),
        )
        for name, operand, text in lines
    )
    usage = grubenv_commands.USAGE.removeprefix("usage: ")
    before = (Value("FILENAME", Kind.FILE),)
    return Command(("grubenv",), "read and change a GRUB environment block", general, before, verbs, usage)
