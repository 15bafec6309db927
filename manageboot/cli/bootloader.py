"""Does what `manageboot bootloader` is asked for."""

import argparse

from manageboot import errors
from manageboot.bootloader import grubcfg
from manageboot.config import Config
from manageboot.system import console

_SCHEMA = 1


def shipped() -> str:
    """Return the shipped grub.cfg, which needs no settings."""
    return grubcfg.shipped().removesuffix("\n")


def perform(options: argparse.Namespace, settings: Config) -> str:
    """Install the shipped grub.cfg, or compare the node's with it.

    Returns:
        What was done, in words.

    Raises:
        BootloaderError: they differ; what differs is printed.
        ManagebootError: it can't be done.
    """
    if options.action == "install":
        return grubcfg.install(settings)
    path, differences = grubcfg.compare(settings)
    if differences:
        error = errors.BootloaderError(
            f"cannot accept {path}: it is not the shipped one", hint="manageboot bootloader install"
        )
        error.found = {"schema": _SCHEMA, "verb": options.verb, "differences": list(differences)}
        if not options.json:
            console.answer("\n".join(differences))
        raise error
    grubcfg.check_modules(settings, f"accept {path}")
    return f"{path} is the shipped one"
