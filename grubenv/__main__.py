"""The command line, argument for argument that of grub-editenv: the only place here that prints or exits."""

from __future__ import annotations

import os
import sys

from grubenv import file, view
from grubenv.errors import GrubEnvError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_IO = 74

USAGE = "usage: grubenv [OPTION...] [FILENAME] COMMAND [ARGUMENT...]"
HELP = f"""{USAGE}

Read and change a GRUB environment block, safely against power cuts.

Commands:
  create                 Make FILENAME an empty environment block.
  list                   List the variables, as GRUB sees them.
  set NAME=VALUE...      Set variables, all of them or none.
  unset NAME...          Remove variables, all of them or none.

Options:
  -?, -h, --help         Print this help.
      --usage            Print the first line of it.
  -v, --verbose          Say on standard error what was done.
  -V, --version          Print the version.

Without FILENAME, or if it is `-', {file.DEFAULT_PATH} is used.
Symbolic links are followed to the file itself.

Exit codes: 0 done or nothing to do, 2 wrong usage, 65 damaged, 66 no such file, 73 cannot create or no room,
74 I/O error, 75 another process is writing, 77 not permitted.
"""


class UsageError(Exception):
    """The arguments make no sense; the message says which."""


class Arguments:
    """Hold what the command line asks for."""

    def __init__(self, words: list[str]) -> None:
        """Sort `words` into options, file name, command and operands; options may stand anywhere before `--`.

        Raises:
            UsageError: an option is unknown, or there is no command.
        """
        self.options: set[str] = set()
        self.operands: list[str] = []
        for index, word in enumerate(words):
            if word == "--":
                self.operands += words[index + 1:]
                break
            if word.startswith("-") and word != "-":
                self.options.add(_option(word))
            else:
                self.operands.append(word)
        self.path = file.DEFAULT_PATH
        self.command = ""
        if len(self.operands) == 1:
            self.command = self.operands.pop()
        elif self.operands:
            path, self.command, *self.operands = self.operands
            if path != "-":
                self.path = path


def main(argv: list[str] | None = None) -> int:
    """Carry out one command line and return its exit code.

    Args:
        argv: the arguments behind the program's name; None: those of this process.
    """
    try:
        arguments = Arguments(sys.argv[1:] if argv is None else argv)
        return _run(arguments)
    except UsageError as error:
        _say(f"grubenv: error: {error} [USAGE]\nhint: {USAGE}; `grubenv --help' says more\n")
        return EXIT_USAGE
    except GrubEnvError as error:
        _say(f"grubenv: error: {error} [{error.code_word}]\n")
        if error.hint:
            _say(f"hint: {error.hint}\n")
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads; do not fail again at exit
        return EXIT_IO


def _run(arguments: Arguments) -> int:
    if "help" in arguments.options:
        _print(HELP.encode())
        return EXIT_OK
    if "usage" in arguments.options:
        _print(f"{USAGE}\n".encode())
        return EXIT_OK
    if "version" in arguments.options:
        from grubenv import __version__

        _print(f"grubenv {__version__}\n".encode())
        return EXIT_OK
    if not arguments.command:
        raise UsageError("cannot run: no command")
    if arguments.command not in COMMANDS:
        message = f"cannot run {arguments.command!r}: no such command"
        raise UsageError(message)
    COMMANDS[arguments.command](arguments)
    return EXIT_OK


def _list(arguments: Arguments) -> None:
    _refuse_operands(arguments)
    try:
        pairs = list(view.iterate(file.read_bytes(arguments.path)))
    except GrubEnvError as error:
        raise error.at("read", arguments.path) from None
    _print(b"".join(b"%b=%b\n" % pair for pair in pairs))


def _set(arguments: Arguments) -> None:
    from grubenv.durable import update

    values = {}
    for word in arguments.operands:
        name, equals, value = word.partition("=")
        if not equals:
            message = f"cannot set {word!r}: no '=' in it"
            raise UsageError(message)
        values[_text(name)] = _text(value)
    outcome = update(arguments.path, values, create_missing=True)
    _report(arguments, outcome.how)


def _unset(arguments: Arguments) -> None:
    from grubenv.durable import update

    outcome = update(arguments.path, unset=[_text(word) for word in arguments.operands])
    _report(arguments, outcome.how)


def _create(arguments: Arguments) -> None:
    from grubenv.durable import create

    _refuse_operands(arguments)
    outcome = create(arguments.path)
    _report(arguments, outcome.how)


COMMANDS: dict[str, Callable[[Arguments], None]] = {"list": _list, "set": _set, "unset": _unset, "create": _create}


def _text(argument: str) -> str:
    """Return the argument's bytes as the block's text, whatever the locale made of them."""
    return view.text(os.fsencode(argument))


def _option(word: str) -> str:
    names = {"-?": "help", "-h": "help", "--help": "help", "--usage": "usage", "-v": "verbose",
             "--verbose": "verbose", "-V": "version", "--version": "version"}
    if word not in names:
        message = f"cannot run: unknown option {word!r} (`--' ends the options)"
        raise UsageError(message)
    return names[word]


def _refuse_operands(arguments: Arguments) -> None:
    if arguments.operands:
        message = f"cannot {arguments.command}: unexpected argument {arguments.operands[0]!r}"
        raise UsageError(message)


def _report(arguments: Arguments, how: str) -> None:
    words = {"unchanged": "nothing to change, nothing written",
             "direct": "written in place past the cache, flushed, read back",
             "buffered": "written in place through the cache, flushed, read back",
             "replaced": "new file written, flushed, renamed"}
    if "verbose" in arguments.options:
        _say(f"grubenv: {arguments.path}: {words[how]}\n")


def _print(data: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(message: str) -> None:
    sys.stderr.write(message.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
