"""Does what `manageboot update` is asked for, and tells how it ended."""

import argparse

from manageboot.cli import answer
from manageboot.config import Config
from manageboot.system import console
from manageboot.unattended import lastrun, update

_SCHEMA = 1


def perform(options: argparse.Namespace, settings: Config) -> None:
    """Do one unattended update.

    Raises:
        ManagebootError: it can't be done.
    """
    last = update.update(settings, retry=options.retry, progress=options.progress)
    console.tell(f"manageboot: {last.text}")
    if options.json:
        told = lastrun.to_json(last)
        answer.show({"schema": _SCHEMA, "verb": options.verb, **told, "warnings": list(answer.warnings)})
