"""Write what is made from the sources: `python -m manageboot.manual man|completion|errors DIRECTORY`."""

import sys
from pathlib import Path

from manageboot.manual import commands, completion, errorpage, pages


def _completion() -> dict[str, str]:
    files = {}
    for program in (commands.manageboot(), commands.grubenv()):
        files[program.name] = completion.bash(program)
        files[f"_{program.name}"] = completion.zsh(program)
        files[f"{program.name}.fish"] = completion.fish(program)
    return files


def _errors() -> dict[str, str]:
    return {"errors.md": errorpage.page()}


_MADE = {"man": pages.pages, "completion": _completion, "errors": _errors}


def main(arguments: list[str]) -> None:
    """Write the files of one kind into a directory, which is made."""
    if len(arguments) != 2 or arguments[0] not in _MADE:
        sys.exit(f"usage: python -m manageboot.manual {'|'.join(_MADE)} DIRECTORY")
    kind, directory = arguments
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, text in _MADE[kind]().items():
        Path(directory, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
