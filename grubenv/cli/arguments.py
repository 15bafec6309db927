"""What the words of a command line ask for."""

from __future__ import annotations

from grubenv import file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FLAGS = {
    "-?": "help",
    "-h": "help",
    "--help": "help",
    "--usage": "usage",
    "-v": "verbose",
    "--verbose": "verbose",
    "--debug": "debug",
    "-V": "version",
    "--version": "version",
    "--json": "json",
}
_WITH_VALUE = {"--cmdline": "cmdline", "--from-cmdline": "from-cmdline"}
_ONLY_FOR = {"json": ("check",), "cmdline": ("repair",), "from-cmdline": ("repair",)}


class UsageError(Exception):
    """The arguments make no sense; the message says which."""


class Arguments:
    """Hold what the command line asks for."""

    def __init__(self, words: list[str]) -> None:
        """Sort `words` into options, file name, command and operands; options may stand anywhere before `--`.

        Raises:
            UsageError: an option is unknown, lacks its value, or is of no use to the command.
        """
        self.options: dict[str, list[str]] = {}
        self.operands: list[str] = []
        rest = iter(words)
        for word in rest:
            if word == "--":
                self.operands += rest
            elif word.startswith("-") and word != "-":
                name, value = _option(word, rest)
                self.options.setdefault(name, []).append(value)
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
        for name, commands in _ONLY_FOR.items():
            if name in self.options and self.command not in commands:
                message = f"cannot {self.command or 'run'}: --{name} belongs to {', '.join(commands)}"
                raise UsageError(message)


def _option(word: str, rest: Iterator[str]) -> tuple[str, str]:
    """Return the option's name and value, which may be a word of its own."""
    if word in _FLAGS:
        return _FLAGS[word], ""
    option, equals, value = word.partition("=")
    if option not in _WITH_VALUE:
        message = f"cannot run: unknown option {word!r} (`--' ends the options)"
        raise UsageError(message)
    if not equals:
        value = next(rest, "")
    if not value:
        message = f"cannot run: {option} needs a value"
        raise UsageError(message)
    return _WITH_VALUE[option], value
