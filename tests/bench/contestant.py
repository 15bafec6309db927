"""What takes part: a way to install, or a floor that no way can be below."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.payload import Payload
from bench.targets import Targets

Command = list[str | Path]


class Stage(NamedTuple):
    """What one of them finds."""

    payload: Payload
    targets: Targets
    work: Path
    """A folder of its own."""
    directory: Path
    """The folder with all files of the benchmark, those above and the temporary ones."""


class Contestant(NamedTuple):
    """One way to install, or a floor."""

    name: str
    prepare: Callable[[Stage], Command]
    """Makes ready what it installs, and returns the command that is measured."""
    is_floor: bool = False
    check_holes: bool = True
    """Whether every byte has to be the image's; bmaptool leaves old data in the holes."""
    version: Callable[[], str] | None = None
    """The version of a program that only the benchmark needs, and gets where it is missing."""
