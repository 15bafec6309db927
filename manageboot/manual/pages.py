"""The manual pages: what the programs say of themselves, and the documents that say more."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from grubenv import errors as grubenv_errors
from grubenv.cli import commands as grubenv_commands
from manageboot import config
from manageboot.cli import explain
from manageboot.manual import commands, roff
from manageboot.manual.commands import Command, Option

_FEW = 5
"""As many choices are listed."""

_DOCS = Path(__file__).parents[2] / "docs"

_DESCRIPTION = """\
It streams an update image into the slot that is not running, tells GRUB to try it, and keeps it once it has proved
itself. Otherwise the node is back in the old system by itself.

The words before the verb say which profile counts; without them the configuration does. Results go to standard output,
everything else to standard error. A verb that exits with 0 has done its work, and it is on the disk.
"""

GRUBENV_EXAMPLES = {
    "grubenv /boot/grub/grubenv list": "what GRUB would load",
    "grubenv /boot/grub/grubenv set boot_alternative=A boot_cycle=stable": "both or none",
    "grubenv check --json": "of `/boot/grub/grubenv`, for a program",
    "grubenv - repair boot_alternative=A boot_cycle=stable": "with what a lost name gets",
    "grubenv repair --from-cmdline boot_alternative=dfinity.system": "the same, from the kernel command line",
}


def pages() -> dict[str, str]:
    """Make every page, by the name of its file.

    Raises:
        FileNotFoundError: the documents are not there; they are in the source tree only.
    """
    made = {
        "manageboot.1": _manageboot(),
        "manageboot.toml.5": _settings(),
        "manageboot.service.8": _service(),
        "grubenv.1": _grubenv(),
    }
    return {name: roff.page(lines) for name, lines in made.items()}


def _begin(name: str, number: int, does: str) -> list[str]:
    date = time.strftime("%Y-%m-%d", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    return [*roff.title(name, number, date), *roff.section("name"), f"{roff.plain(name)} \\- {roff.plain(does)}"]


def _manageboot() -> list[str]:
    program = commands.manageboot()
    lines = _begin(program.name, 1, program.text)
    lines += [*roff.section("synopsis"), *_usage(program), *roff.section("description"), *roff.markdown(_DESCRIPTION)]
    lines += roff.section("options")
    for option in program.options:
        lines += _option(option)
    lines += roff.section("verbs")
    for verb in program.commands:
        lines += _verb(verb)
    lines += [*roff.section("exit status"), *roff.item("0", "It is done, or there was nothing to do.")]
    for kind in explain.error_kinds():
        lines += roff.item(f"**{kind.exit_code}**, `{kind.code}`", explain.meaning(kind))
    lines += roff.item("130, 143", "It was interrupted, or terminated. The node is as safe as before.")
    lines += [*roff.section("environment"), *roff.item("`MANAGEBOOT_DEBUG`", "What `--debug` does, unless it is `0`.")]
    lines += roff.section("files")
    lines += [
        line for path in config.CONFIG_PATHS for line in roff.item(f"`{path}`", "The first one that exists counts.")
    ]
    return lines + _see("grubenv(1)", "manageboot.toml(5)", "manageboot.service(8)")


def _usage(command: Command) -> list[str]:
    return [line for one in command.usage.splitlines() for line in (roff.plain(" ".join(one.split())), ".br")][:-1]


def _option(option: Option) -> list[str]:
    value = f" *{option.value.name}*" if option.value and not option.value.choices else ""
    if option.value and option.value.choices:
        value = f" {'|'.join(option.value.choices)}"
    return roff.item(", ".join(f"`{name}`" for name in option.names) + value, f"{option.text}.")


def _verb(verb: Command, above: str = "") -> Iterator[str]:
    name = f"{above}{verb.name}"
    yield f'.SS "{roff.plain(name)}"'
    yield f"{roff.plain(verb.text[:1].upper() + verb.text[1:])}."
    if verb.names[1:]:
        yield roff.inline(f"It is also called {', '.join(f'`{one}`' for one in verb.names[1:])}.")
    yield from roff.paragraph(f"`{' '.join(verb.usage.split())}`")
    for operand in verb.operands:
        if operand.text:
            yield from roff.item(
                f"*{operand.name}*"
                if len(operand.choices) > _FEW
                else "|".join(operand.choices) or f"*{operand.name}*",
                f"{operand.text}.",
            )
    for option in verb.options:
        if "--help" not in option.names:
            yield from _option(option)
    if verb.epilog:
        yield from roff.paragraph("Examples:")
        yield from roff.verbatim("\n".join(line[2:] for line in verb.epilog.splitlines()[1:]))
    for one in verb.commands:
        yield from _verb(one, f"{name} ")


def _settings() -> list[str]:
    lines = _begin("manageboot.toml", 5, "settings of manageboot")
    return lines + roff.section("description") + _document("configuration.md") + _see("manageboot(1)")


def _service() -> list[str]:
    lines = _begin("manageboot.service", 8, "decides whether a boot is good")
    lines += [*roff.section("synopsis"), "manageboot.service", ".br", "manageboot daemon", *roff.section("description")]
    return lines + _document("daemon.md", until="\n## How it") + _see("manageboot(1)", "manageboot.toml(5)")


def _document(name: str, until: str | None = None) -> list[str]:
    text = (_DOCS / name).read_text(encoding="utf-8")
    return roff.markdown(text.partition(until)[0] if until else text)


def _grubenv() -> list[str]:
    program = commands.grubenv()
    lines = _begin(program.name, 1, program.text)
    lines += [*roff.section("synopsis"), *_usage(program), *roff.section("description")]
    head, _, rest = grubenv_commands.HELP.partition("\nCommands:\n")
    lines += roff.paragraph(head.partition("\n\n")[2])
    before, _, statuses = rest.partition("\nWithout ")[2].partition("\nExit codes: ")
    lines += [*roff.paragraph(f"Without {before}"), *roff.section("commands")]
    for command in program.commands:
        operand = f" *{command.operands[0].name}*" if command.operands else ""
        lines += roff.item(f"`{command.name}`{operand}", command.text)
    lines += roff.section("options")
    for option in dict.fromkeys(option for command in program.commands for option in command.options):
        lines += _option(option._replace(text=option.text.removesuffix(".")))
    lines += [*roff.section("examples")]
    for command_line, does in GRUBENV_EXAMPLES.items():
        lines += roff.item(f"`{command_line}`", does)
    lines += [*roff.section("exit status"), *roff.paragraph(statuses), *roff.section("errors")]
    for kind in _grubenv_errors():
        lines += roff.item(f"**{kind.exit_code}**, `{kind.code_word}`", (kind.__doc__ or "").partition("\n")[0])
    return lines + _see("manageboot(1)", "grub-editenv(1)")


def _grubenv_errors() -> list[type[grubenv_errors.GrubEnvError]]:
    """List all but the root, which only a bug is."""
    found = grubenv_errors.GrubEnvError.__subclasses__()
    for kind in found:
        found += kind.__subclasses__()
    return found


def _see(*pages: str) -> list[str]:
    return [*roff.section("see also"), ", ".join(f"\\fB{roff.plain(page)}\\fR" for page in pages)]
