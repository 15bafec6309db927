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
        if request.checks and not _waits_in_vain(command):
            raise
        # Nothing is lost: the booted slot is trusted, and boots next again before the other one is touched.
        main.perform([*request.leading, "upgrade-cancel"])
        main.perform(command)


def _waits_in_vain(command: Sequence[str]) -> bool:
    """Say whether a commit waits for a reboot that it asked for, and that could not be started, or did not come.

    The orchestrator then begins again with an installation, each time, and would never get to a commit.
    """
    from manageboot.daemon import statefile
    from manageboot.upgrade import rebooting
    from manageboot.upgrade.rebooting import Reboot

    settings = main.settings_of(command)
    match rebooting.how_far(settings):
        case Reboot.NOT_STARTED:
            cause = "could not be started"
        case Reboot.STARTED if statefile.load(settings.state.runtime_directory)[1].overdue:
            cause = "did not come"
        case _:
            return False
    console.tell(f"manageboot: warning: the reboot of the last commit {cause}, so the commit is taken back")
    return True


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
