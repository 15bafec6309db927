"""The command line of `--disk`: which verbs work on the disk of another system, and what they need of it."""

import argparse
from contextlib import AbstractContextManager
from typing import NamedTuple

from manageboot import config, errors
from manageboot.offline import offline
from manageboot.offline.offline import Aim, Parts
from manageboot.protocol import Slot
from manageboot.system import files


class _Needs(NamedTuple):
    """What a verb does with a disk, and needs of it."""

    write: bool = False
    parts: Parts = Parts.NOTHING


_VERBS = {
    "upgrade-install": _Needs(write=True, parts=Parts.DEVICES),
    "upgrade-commit": _Needs(write=True, parts=Parts.DEVICES),
    "upgrade-cancel": _Needs(write=True),
    "rollback": _Needs(write=True),
    "inspect": _Needs(parts=Parts.DEVICES),
    "doctor": _Needs(parts=Parts.DEVICES),
    "status": _Needs(),
    "history": _Needs(),
    "current": _Needs(),
    "target": _Needs(),
    "next": _Needs(),
    "current-root": _Needs(parts=Parts.PLACES),
    "target-root": _Needs(parts=Parts.PLACES),
}

_VAR = "var"


def opened(options: argparse.Namespace) -> AbstractContextManager[config.Config]:
    """Give the settings for a verb on the disk that the command line names, for the time of a with block.

    Raises:
        UsageError: the verb, or an option, has no meaning there.
        ManagebootError: as for `config.load` and `offline.opened`.
    """
    needs = _VERBS.get(options.verb)
    if needs is None:
        raise errors.UsageError(
            "cannot run: --disk is for another system's disk, and this verb is only for the system that runs it",
            hint="docs/recovery.md lists the verbs that work offline",
        )
    if options.grubenv is not None:
        raise errors.UsageError(
            "cannot run: -f has no meaning with --disk", hint="boot.grub_partition says where the block is"
        )
    aim = _aim(options)
    settings = config.load(
        options.config,
        profile=options.system,
        lock_timeout_s=getattr(options, "lock_timeout", None),
        foreign=True,
    )
    if getattr(options, "keep_var", False):
        settings = settings._replace(roles=_without_wipe(settings.roles))
    disk = files.absolute(options.disk)
    return offline.opened(disk, settings, verb=options.verb, write=needs.write, parts=needs.parts, aim=aim)


def _without_wipe(roles: config.RolesConfig) -> config.RolesConfig:
    """Leave what an installation would wipe.

    Raises:
        UsageError: the update image brings a var of its own.
    """
    if _VAR in roles.written:
        raise errors.UsageError(f"cannot run: --keep-var has no meaning where slots.written names {_VAR}")
    return roles._replace(wiped=())


def _aim(options: argparse.Namespace) -> Aim | None:
    """Say which slot is meant, where the command line does."""
    slot, overwrite_trusted = getattr(options, "slot", None), getattr(options, "overwrite_trusted", False)
    if slot is not None:
        return Aim(Slot(slot), overwrite_trusted)
    if overwrite_trusted:
        raise errors.UsageError("cannot run: --overwrite-trusted has no meaning without --slot")
    return None
