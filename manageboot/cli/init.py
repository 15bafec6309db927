"""The command line of `init`, which works where there is no configuration yet, or a bad one."""

import argparse
import json

from manageboot import config, errors
from manageboot.setup import look, setup
from manageboot.setup.machine import Machine
from manageboot.setup.setup import Wanted
from manageboot.system import console, text


def perform(options: argparse.Namespace) -> None:
    """Look at the machine, or at the disk that is named, say what was seen, and write what is asked for.

    Raises:
        UsageError: it makes no sense.
        ManagebootError: as for `look.at_disk` and `setup.write`; what was seen is printed before that.
    """
    wanted = Wanted(options.write_config, options.write_grub_cfg, options.replace)
    if options.disk is not None and "" in wanted[:2]:
        raise errors.UsageError("cannot run: with --disk, --write-config and --write-grub-cfg need a FILE")
    if options.replace and wanted.config is None and wanted.grub_cfg is None:
        raise errors.UsageError("cannot run: --replace has no meaning without --write-config or --write-grub-cfg")
    machine = _this_machine(options) if options.disk is None else look.at_disk(options.disk)
    report = setup.report(machine)
    if not options.json:
        console.answer(setup.render(report))
    try:
        for path in setup.write(machine, wanted):
            report["written"].append(path)
            console.tell(f"manageboot: {path} is written")
    except errors.ManagebootError as error:
        # One object: the error has the report beside it.
        error.found = report
        raise
    if options.json:
        console.answer(json.dumps(text.encodable_all(report), indent=2))


def _this_machine(options: argparse.Namespace) -> Machine:
    settings: config.Config | errors.ManagebootError | None = None
    source = options.config or ""
    try:
        if config.exists(options.config, profile=options.system):
            settings = config.load(options.config, profile=options.system, grubenv=options.grubenv)
            source = options.config or config.own_path() or f"the profile {settings.profile}"
    except errors.ManagebootError as error:
        settings = error
    return look.at_this_machine(settings, source)
