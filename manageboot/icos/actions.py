"""The old actions, carried out by the verbs of manageboot."""

import sys
from collections.abc import Sequence

from manageboot import errors
from manageboot.cli import main
from manageboot.icos import privilege
from manageboot.icos.arguments import HELP, Request, parse
from manageboot.system import console

NAME = "manageboot.sh"


def log_messages() -> None:
    """Let the journal have what is told, as the old program did; unless it gets stderr already."""
    if not console.is_journal():
        console.listen(_log)


def carry_out(words: Sequence[str]) -> None:
    """Do what an old command line asks for, as root.

    Args:
        words: the command line without the program's name.

    Raises:
        ManagebootError: it can't be done.
    """
    request = parse(words)
    if request.action == "help":
        console.answer(HELP.removesuffix("\n"))
        return
    privilege.become_root(sys.argv)
    match request.action:
        case "upgrade-install":
            _install(request)
        case "install":
            _install(request)
            main.perform([*request.leading, "upgrade-commit", "--no-reboot"])
        case "confirm":
            _confirm(request)
        case action:
            main.perform([*request.leading, action, *request.arguments])


def _install(request: Request) -> None:
    command = [*request.leading, "upgrade-install", *request.arguments]
    try:
        main.perform(command)
    except errors.CommitPendingError:
        if request.checks:
            raise
        # Nothing is lost: the booted slot is trusted, and boots next again before the other one is touched.
        main.perform([*request.leading, "upgrade-cancel"])
        main.perform(command)


def _confirm(request: Request) -> None:
    try:
        main.perform([*request.leading, "confirm"])
    except errors.ConflictError as error:
        # Units of IC-OS that run a virtual machine call it, and would stop that for a fault that it does not have.
        console.tell(f"manageboot: warning: {error}")


def _log(line: str) -> None:
    # Imported here: queries say nothing.
    from manageboot.events import journal

    journal.log(line, name=NAME)
