"""The old command line: what its words ask for. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from manageboot.errors import UsageError

HELP = """\
usage: manageboot.sh [-f GRUBENV] [--nocheck] [guestos|hostos] ACTION [ARGS]

manageboot with the command line that IC-OS nodes know.

actions:
  upgrade-install IMAGE            write an update image into the passive slot
  upgrade-install BOOT_IMG ROOT_IMG
  upgrade-commit [--no-reboot]     let the passive slot boot next, on trial, and reboot
  install BOOT_IMG ROOT_IMG        both, without the reboot, as on old hosts
  confirm                          say that the booted slot is good
  current, target, next            print a slot, A or B: the booted, the passive, the one that boots next
  current_partition, target_partition, current_root, target_root
                                   print the root device of the booted or the passive slot

options:
  -f GRUBENV   environment block, instead of /boot/grub/grubenv
  --nocheck    let upgrade-install take back a commit that was not tried yet
"""

SYSTEM_TYPES = ("guestos", "hostos")
QUERIES = (
    "current",
    "target",
    "next",
    "current_partition",
    "target_partition",
    "current_root",
    "target_root",
)
HELP_WORDS = ("-h", "--help", "help")
ACTIONS = ("upgrade-install", "upgrade-commit", "install", "confirm", *QUERIES)


class Request(NamedTuple):
    """What a command line asks for."""

    action: str
    """One of ACTIONS, or "help"."""
    arguments: tuple[str, ...] = ()
    """The action's own."""
    leading: tuple[str, ...] = ()
    """What precedes the verb on manageboot's command line."""
    checks: bool = True
    """Whether a commit that is pending keeps upgrade-install from the slot."""


def parse(words: Sequence[str]) -> Request:
    """Tell what a command line asks for.

    Args:
        words: the command line without the program's name.

    Raises:
        UsageError: it asks for nothing that there is.
    """
    left = list(words)
    leading, checks = _options(left)
    if left and left[0] in SYSTEM_TYPES:
        leading.append(left.pop(0))
    if not left:
        raise _usage("there is no action")
    action, *arguments = left
    if action in HELP_WORDS:
        return Request("help")
    if action not in ACTIONS:
        kind = "a system type" if arguments and arguments[0] in ACTIONS else "an action"
        raise _usage(f"{action} is not {kind}")
    if action == "install" and len(arguments) != 2:
        raise _usage("install takes BOOT_IMG and ROOT_IMG")
    if action == "confirm" or action in QUERIES:
        # Nobody ever looked at what comes behind these, and a confirm that fails for a stray word undoes an upgrade.
        arguments = []
    return Request(action, tuple(arguments), tuple(leading), checks)


def _options(left: list[str]) -> tuple[list[str], bool]:
    """Take the options from the front of a command line; return what manageboot gets of them, and whether to check."""
    leading = []
    checks = True
    while left and left[0].startswith("-") and left[0] not in HELP_WORDS:
        option = left.pop(0)
        if option == "--nocheck":
            checks = False
        elif option == "-f" and left:
            leading.append(f"--grubenv={left.pop(0)}")
        elif option.startswith("-f") and option != "-f":
            leading.append(f"--grubenv={option.removeprefix('-f')}")
        else:
            raise _usage("-f takes a file" if option == "-f" else f"{option} is not an option")
    return leading, checks


def _usage(cause: str) -> UsageError:
    return UsageError(f"cannot run: {cause}", hint="manageboot.sh --help")
