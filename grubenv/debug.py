"""Whom to tell of each read, write, flush and rename: nobody, until somebody asks. See `cli.debug`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

tell: Callable[..., None] | None = None
"""Takes a text, and the values for each %s in it. None: nobody asked. Another program may put its own here."""


def place(directory_fd: int, name: str = "") -> str:
    """Return the path of an open directory, or of a file in it; without /proc, as much of it as is known."""
    try:
        return os.path.join(os.readlink(f"/proc/self/fd/{directory_fd}"), name).removesuffix("/")
    except OSError:
        return name or "the directory"
