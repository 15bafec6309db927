"""What each command does; its arguments are those of grub-editenv."""

from __future__ import annotations

import os

from grubenv import file, view
from grubenv.cli.arguments import Arguments, UsageError
from grubenv.cli.output import answer, say, visible
from grubenv.errors import GrubEnvError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXIT_OK = 0
EXIT_DAMAGED = 65

_DEBUG_VARIABLE = "GRUBENV_DEBUG"
"""What `--debug` does, this does, too, if it is set, and neither empty nor 0."""

USAGE = "usage: grubenv [OPTION...] [FILENAME] COMMAND [ARGUMENT...]"
HELP = f"""{USAGE}

Read and change a GRUB environment block, safely against power cuts.

Commands:
  create                 Make FILENAME an empty environment block.
  list                   List the variables, as GRUB sees them.
  set NAME=VALUE...      Set variables, all of them or none.
  unset NAME...          Remove variables, all of them or none.
  check [NAME...]        List all that is wrong; NAMEs are those that the boot needs (default: all).
  repair [NAME=VALUE...] Mend what can be mended; if a NAME was lost, set all of these.

Options:
      --json             check: print one JSON object.
      --from-cmdline NAME=KEY
                         repair: like NAME=VALUE, with the value of KEY on the kernel command line.
      --cmdline FILE     repair: read the kernel command line from FILE (default: /proc/cmdline).
  -?, -h, --help         Print this help.
      --usage            Print the first line of it.
  -v, --verbose          Say on standard error what was done.
      --debug            Say there each read, write, flush and rename; also GRUBENV_DEBUG=1.
  -V, --version          Print version and commit.

Without FILENAME, or if it is `-', {file.DEFAULT_PATH} is used.
Symbolic links are followed to the file itself.

Exit codes: 0 done or nothing to do, 2 wrong usage, 65 damaged, 66 no such file, 73 cannot create or no room,
74 I/O error, 75 another process is writing, 77 not permitted, 70 a bug, 130 interrupted, 143 terminated.
"""


def perform(words: list[str]) -> int:
    """Do what the words of a command line ask for, and return the exit code.

    Raises:
        UsageError: they make no sense.
        GrubEnvError: it can't be done, or nobody takes the result.
    """
    arguments = Arguments(words)
    if "help" in arguments.options:
        answer(HELP.encode())
        return EXIT_OK
    if "usage" in arguments.options:
        answer(f"{USAGE}\n".encode())
        return EXIT_OK
    if "version" in arguments.options:
        from grubenv.commit import release

        answer(f"grubenv {release()}\n".encode())
        return EXIT_OK
    if not arguments.command:
        raise UsageError("cannot run: no command")
    if arguments.command not in COMMANDS:
        message = f"cannot run {arguments.command!r}: no such command"
        raise UsageError(message)
    if "debug" in arguments.options or os.environ.get(_DEBUG_VARIABLE, "0") not in {"", "0"}:
        from grubenv.cli import debug

        debug.begin()
    return COMMANDS[arguments.command](arguments)


def _list(arguments: Arguments) -> int:
    _refuse_operands(arguments)
    try:
        pairs = list(view.iterate(file.read_bytes(arguments.path)))
    except GrubEnvError as error:
        raise error.at("read", arguments.path) from None
    answer(b"".join(b"%b=%b\n" % pair for pair in pairs))
    return EXIT_OK


def _set(arguments: Arguments) -> int:
    from grubenv.updating import update

    outcome = update(arguments.path, _assignments("set", arguments.operands), create_missing=True)
    return _report(arguments, outcome.how)


def _unset(arguments: Arguments) -> int:
    from grubenv.updating import update

    outcome = update(arguments.path, unset=[_text(word) for word in arguments.operands])
    return _report(arguments, outcome.how)


def _create(arguments: Arguments) -> int:
    from grubenv.updating import create

    _refuse_operands(arguments)
    outcome = create(arguments.path)
    return _report(arguments, outcome.how)


def _check(arguments: Arguments) -> int:
    from grubenv.checking import check

    report = check(arguments.path, [_text(word) for word in arguments.operands] or None)
    _answer_lines([report.json()] if "json" in arguments.options else report.lines())
    return EXIT_OK if report.sound else EXIT_DAMAGED


def _repair(arguments: Arguments) -> int:
    from grubenv.kernelcmdline import DEFAULT_PATH, read_value
    from grubenv.repairing import repair

    fallback = _assignments("repair", arguments.operands)
    wanted = _assignments("repair", arguments.options.get("from-cmdline", []))
    missing = []
    if wanted:
        line = arguments.options.get("cmdline", [DEFAULT_PATH])[-1]
        found = {name: value for name, key in wanted.items() if (value := read_value(line, key)) is not None}
        missing = [
            f"{arguments.path}: the kernel command line has no {key}, so {name} has no fallback"
            for name, key in wanted.items()
            if name not in found
        ]
        fallback |= found
    result = repair(arguments.path, fallback)
    _answer_lines([*result.lines(), *(missing if result.lost else ())])
    return EXIT_DAMAGED if result.remaining else EXIT_OK


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "list": _list,
    "set": _set,
    "unset": _unset,
    "create": _create,
    "check": _check,
    "repair": _repair,
}


def _assignments(verb: str, words: Iterable[str]) -> dict[str, str]:
    values = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            message = f"cannot {verb} {word!r}: no '=' in it"
            raise UsageError(message)
        values[_text(name)] = _text(value)
    return values


def _text(argument: str) -> str:
    """Return the argument's bytes as the block's text, whatever the locale made of them."""
    return view.text(os.fsencode(argument))


def _refuse_operands(arguments: Arguments) -> None:
    if arguments.operands:
        message = f"cannot {arguments.command}: unexpected argument {arguments.operands[0]!r}"
        raise UsageError(message)


def _report(arguments: Arguments, how: str) -> int:
    words = {
        "unchanged": "nothing to change, nothing written",
        "direct": "written in place past the cache, flushed, read back",
        "buffered": "written in place through the cache, flushed, read back",
        "replaced": "new file written, flushed, renamed",
    }
    if "verbose" in arguments.options:
        say(f"grubenv: {arguments.path}: {words[how]}")
    return EXIT_OK


def _answer_lines(lines: Iterable[str]) -> None:
    answer(b"".join(view.raw(visible(line)) + b"\n" for line in lines))
