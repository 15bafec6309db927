"""Does what `manageboot release` is asked for; it needs no configuration, and no node."""

import argparse
import os
from collections.abc import Callable

from manageboot.system import console


def perform(options: argparse.Namespace) -> None:
    """Do one action.

    Raises:
        ManagebootError: it can't be done.
    """
    _ACTIONS[options.action](options)


def _build(options: argparse.Namespace) -> None:
    from manageboot.publish import build
    from manageboot.release.description import Requirements

    plan = build.Plan(
        output=options.output,
        release_index=options.index,
        min_index=options.min_index,
        version=options.version,
        built=options.built or build.environment_time(os.environ),
        requires=Requirements(options.agent, tuple(options.systems), tuple(options.hardware)),
        roles=tuple(options.role) if options.role else build.Plan._field_defaults["roles"],
        any_content=options.any_content,
        level=options.level,
        threads=options.threads,
        style=options.progress,
    )
    _say(build.build(options.images, plan))


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "build": _build,
}


def _say(message: str) -> None:
    console.tell(f"manageboot: {message}")
