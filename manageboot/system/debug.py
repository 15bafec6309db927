"""What `--debug` shows on stderr: each command, decision and write, one line each.

Only imported once somebody asks for it; everybody else looks at `console.debug`, which is None until then.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import grubenv.debug
from manageboot import __version__
from manageboot.system import console
from manageboot.system.process import shell_line
from manageboot.system.text import one_line

_PATIENCE_S = 0.2
"""How long a line waits for a reader. Once one was lost, the next ones don't wait until there is room again."""

_JOURNAL_DEBUG = "<7>"
"""The priority debug. Source: sd-daemon(3)."""


def begin() -> None:
    """Show from now on what is done; a second call changes nothing."""
    if console.debug is not None:
        return
    console.debug = grubenv.debug.tell = _Lines().tell
    console.debug(
        "%s, manageboot %s, process %d of user %d: %s",
        datetime.now(UTC).isoformat(), __version__, os.getpid(), os.geteuid(), shell_line(sys.orig_argv),
    )  # fmt: skip


def _words(value: Any) -> Any:
    """Write a value as people read it; of a tuple with names only what there is."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        there = {name.rstrip("_"): part for name, part in zip(value._fields, value, strict=True) if _is_there(part)}
        return " ".join(f"{name}={_nested(part)}" for name, part in there.items()) or "nothing"
    return value


def _nested(value: Any) -> Any:
    return f"({_words(value)})" if isinstance(value, tuple) else _words(value)


def _is_there(value: object) -> bool:
    return value is not None and value is not False and value != ""


class _Lines:
    """Lines for a reader who may be slow, or not there at all. Any thread may write."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._prefix = f"{_JOURNAL_DEBUG}debug:" if console.is_journal() else "manageboot: debug:"
        self._lock = threading.Lock()
        self._lost = 0

    def tell(self, text: str, *values: object) -> None:
        """Show a text, with values for each %s in it. Raises nothing: the work is more than what is said of it."""
        with suppress(Exception), self._lock:
            line = text % tuple(map(_words, values))
            if self._lost and self._show(f"{self._lost} lines are lost here: nobody read them in time", 0):
                self._lost = 0
            if not self._show(line, 0 if self._lost else _PATIENCE_S):
                self._lost += 1

    def _show(self, line: str, patience_s: float) -> bool:
        seconds = time.monotonic() - self._began_s
        return console.show(f"{self._prefix} {seconds:.6f} {one_line(line)}\n", patience_s)
