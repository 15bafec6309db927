"""The command line: verbs, options and arguments, and what `--help` says of them."""

import argparse
import os
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from manageboot import errors
from manageboot.system import console

SYSTEM_TYPES = ("guestos", "hostos")

_HELP_COLUMNS = 80
_TEXT_COLUMN = 22
"""Where in the help the text of an option begins."""

_WITH_VALUE = frozenset({"-c", "--config", "-f", "--grubenv", "--disk", "--slot"})
_OF_THE_SLOT = frozenset({"--slot", "--keep-var", "--overwrite-trusted"})

_EPILOG = """\
exit status: 0 if it is done, or there was nothing to do; `manageboot explain`
has the others. `manageboot VERB --help` has options and examples of a verb."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # Left to itself, argparse asks for the width of the terminal at every argument, and imports shutil for it.
        columns = os.environ.get("COLUMNS")
        known = columns and re.fullmatch("[1-9][0-9]{1,3}", columns)
        super().__init__(prog, max_help_position=_TEXT_COLUMN, width=int(known[0]) if known else _HELP_COLUMNS)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        # "-c, --config FILE", as newer releases of Python write it, and not "-c FILE, --config FILE".
        names = ", ".join(action.option_strings)
        if not names or action.nargs == 0:
            return names or super()._format_action_invocation(action)
        return f"{names} {self._format_args(action, self._get_default_metavar_for_optional(action))}"


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: object = None) -> None:  # noqa: ARG002 argparse's signature
        # What --help and --version print is a result. Left to itself, argparse lets it fail at exit, or not at all.
        console.answer(message.removesuffix("\n"))

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"cannot run: {message}", hint=f"{self.prog} --help")


class _Unused(argparse.ArgumentParser):
    """Stands for the verbs that are not asked for, and takes their arguments without a look at them."""

    def __init__(self) -> None:
        """Make nothing: what argparse makes for a parser, and for each argument, is what queries would wait for."""

    def add_argument(self, *_: Any, **__: Any) -> Any:
        return None

    def add_mutually_exclusive_group(self, **_: Any) -> Any:
        return self


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        # Imported here: to know the commit, a checkout asks git.
        from grubenv.commit import release

        console.answer(f"manageboot {release()}")
        parser.exit()


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line.

    Args:
        arguments: without the program's name; guestos or hostos before the verb is taken out of it.

    Returns:
        The options; `verb` is its name, whichever of its names was used, and `system` guestos, hostos or None.

    Raises:
        UsageError: it makes no sense.
    """
    system = _take_system_type(arguments)
    _move_behind_verb(arguments)
    asks_for_help = any(word == "--help" or word.startswith("-h") for word in arguments)
    try:
        options = _parser(None if asks_for_help else arguments).parse_args(arguments)
    except errors.UsageError:
        # Now with all verbs: a message may list them.
        options = _parser(None).parse_args(arguments)
    options.system = system
    if options.json and getattr(options, "watch", False):
        raise errors.UsageError("cannot run: --watch is for people, and has no meaning with --json")
    if len(getattr(options, "images", [])) > 2:
        raise errors.UsageError("cannot run: more than two images", hint="manageboot --help")
    return options


def whole() -> argparse.ArgumentParser:
    """Make the parser with all verbs, for whoever describes the command line."""
    return _parser(None)


def _parser(words: list[str] | None) -> _Parser:
    """Make the parser; with the verbs that are among these words, or with all and what `--help` says of them."""
    parser = _Parser(
        prog="manageboot",
        usage="manageboot [OPTION...] [guestos|hostos] VERB [ARGUMENT...]",
        epilog=_EPILOG,
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file")
    parser.add_argument("-f", "--grubenv", metavar="FILE", help="environment block, instead of the configured one")
    parser.add_argument("--disk", metavar="DISK", help="work offline: the disk of another system, device or image")
    parser.add_argument("--debug", action="store_true", help="show what is done and why; also MANAGEBOOT_DEBUG=1")
    parser.add_argument("--version", action=_Version, nargs=0, help="print version and commit, and exit")
    verbs = parser.add_subparsers(metavar="VERB", required=True, prog=parser.prog, help=argparse.SUPPRESS)
    others = _Unused()
    texts: dict[str, str] = {}

    def add(name: str, text: str, *aliases: str) -> argparse.ArgumentParser:
        if words is not None and not {name, *aliases}.intersection(words):
            return others
        also = f"\nalso: {', '.join(aliases)}" if aliases else ""
        verb = verbs.add_parser(
            name, aliases=aliases, description=text + also, formatter_class=_Formatter, allow_abbrev=False
        )
        verb.set_defaults(verb=name)
        verb.add_argument("--json", action="store_true", help="print one JSON object, on failure too")
        texts[name] = text
        return verb

    install = add("upgrade-install", "write an update image into the passive slot")
    install.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="archive, URL, - for stdin, BOOT_IMG ROOT_IMG, or directory of a release; none: the newest release",
    )
    install.add_argument("--sha256", metavar="HEX", help="the SHA-256 of the archive, as it is given")
    install.add_argument("--release-sha256", metavar="HEX", help="the SHA-256 of release.json, instead of signatures")
    install.add_argument("--allow-downgrade", action="store_true", help="also a release below the floor; root only")
    install.add_argument(
        "--progress",
        choices=("auto", "bar", "json", "none"),
        default="auto",
        help="auto draws a bar on a terminal",
    )
    install.add_argument("--skip-identical", action="store_true", help="write only what the slot does not hold already")
    install.add_argument("--keep-var", action="store_true", help="with --disk: leave the slot's var as it is")
    install.add_argument(
        "--overwrite-trusted", action="store_true", help="with --slot: even if the slot is the trusted one"
    )
    check = add("check", "print which releases there are, and why one is refused")
    check.add_argument("directory", nargs="?", metavar="DIRECTORY", help="or its URL, instead of what the mirrors have")
    update = add("update", "update this node as far as channel.unattended lets it")
    update.add_argument("--retry", action="store_true", help="also a release that did not stay here, or was taken back")
    update.add_argument(
        "--progress", choices=("auto", "bar", "json", "none"), default="auto", help="of an installation"
    )
    commit = add("upgrade-commit", "let the passive slot boot next, on trial, and reboot")
    rollback = add("rollback", "go back to the other slot, and reboot")
    for verb in (install, commit):
        verb.add_argument("--slot", choices=("A", "B"), help="with --disk: the slot that is meant")
    for verb in (commit, rollback):
        verb.add_argument("--no-reboot", action="store_true", help="leave the reboot to the caller")
    rollback.add_argument(
        "--because", choices=("by_hand", "unhealthy", "deadline"), default="by_hand", help="why a trial is aborted"
    )
    cancel = add("upgrade-cancel", "take back a commit that was not tried, or an installation")
    confirm = add("confirm", "say that the booted trial is good")
    hold = confirm.add_mutually_exclusive_group()
    hold.add_argument("--hold", action="store_true", help="pause the daemon, confirm nothing")
    hold.add_argument("--release", action="store_true", help="let the daemon go on, confirm nothing")
    add("daemon", "watch over this boot; what manageboot.service runs")
    add("current", "print the booted slot")
    add("target", "print the passive slot")
    add("next", "print the slot that boots next")
    add("current-root", "print the booted root device", "current_root", "current_partition")
    add("target-root", "print the passive root device", "target_root", "target_partition")
    status = add("status", "print all that is known of this node")
    status.add_argument("--watch", action="store_true", help="show how far an installation is, until it has ended")
    add("history", "print the last events of this node")
    inspect = add("inspect", "print what is in an update image, and whether it fits here")
    inspect.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="archive, URL, - for stdin, BOOT_IMG ROOT_IMG, or directory of a release",
    )
    add("doctor", "print what is wrong with the boot chain, and what to do")
    init = add("init", "print what this machine has of an A/B layout")
    init.add_argument(
        "--write-config",
        nargs="?",
        const="",
        metavar="FILE",
        help="write a configuration for the slots that were found",
    )
    init.add_argument("--write-grub-cfg", nargs="?", const="", metavar="FILE", help="write a grub.cfg for them")
    init.add_argument("--replace", action="store_true", help="replace files that are there already")
    explain = add("explain", "say what a code word means, and what to do")
    explain.add_argument("word", nargs="?", metavar="CODE_WORD", help="as in [CODE_WORD]; without one, all are listed")
    bootloader = add("bootloader", "print, compare or install the grub.cfg shipped here")
    bootloader.add_argument("action", choices=("show", "check", "install"), help="what is done with it")
    releases = add("release", "build, sign and check releases, where images are built")
    if releases is not others:
        from manageboot.cli import releaseparser

        releaseparser.add_actions(releases, _Formatter)
    for verb in (install, commit, rollback, cancel, confirm, update):
        verb.add_argument(
            "--lock-timeout", type=_seconds, metavar="SECONDS", help="how long to wait for another run to end"
        )
    if words is None:
        _describe(parser, verbs.choices, texts)
    return parser


def _describe(parser: _Parser, verbs: Mapping[str, argparse.ArgumentParser], texts: Mapping[str, str]) -> None:
    """Add what only `--help` shows: the verbs by what they are for, and the examples of each."""
    from manageboot.cli import usage

    parser.description = f"A/B boot and upgrade agent for nodes that boot with GRUB.\n{usage.overview(texts)}"
    for name in texts:
        verbs[name].epilog = usage.examples(name)


def _seconds(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


def _take_system_type(arguments: list[str]) -> str | None:
    """Take guestos or hostos out of the words before the verb; argparse has no optional word before a subcommand."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        position += 2 if arguments[position] in _WITH_VALUE else 1
    if position < len(arguments) and arguments[position] in SYSTEM_TYPES:
        return arguments.pop(position)
    return None


def _move_behind_verb(arguments: list[str]) -> None:
    """Move what is said beside --disk of the slot behind the verb, whose options these are."""
    position, moved = 0, []
    while position < len(arguments) and arguments[position].startswith("-"):
        end = position + (2 if arguments[position] in _WITH_VALUE else 1)
        if arguments[position].partition("=")[0] in _OF_THE_SLOT:
            moved += arguments[position:end]
            del arguments[position:end]
        else:
            position = end
    arguments[position + 1 : position + 1] = moved
