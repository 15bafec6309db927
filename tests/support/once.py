"""Files that many tests begin with: each process makes them once, and every test has a copy of its own."""

import tempfile
from collections.abc import Callable, Hashable
from functools import cache
from pathlib import Path

from support.loop import run

_made: dict[Hashable, Path] = {}


def put_copy(directory: Path, key: Hashable, make: Callable[[Path], object]) -> None:
    """Copy files into a directory, with their holes.

    Args:
        directory: where they go.
        key: says all that they depend on.
        make: makes them in an empty directory.
    """
    if key not in _made:
        new = Path(_place().name, str(len(_made)))
        new.mkdir()
        make(new)
        _made[key] = new
    run("cp", "--recursive", f"{_made[key]}/.", directory)


@cache
def _place() -> tempfile.TemporaryDirectory[str]:
    """Goes away with the process."""
    return tempfile.TemporaryDirectory(prefix="manageboot-once-")
