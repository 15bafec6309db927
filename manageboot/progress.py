"""How far a run is: a bar for a terminal, JSON Lines for a program, or nothing."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, Protocol

Style = Literal["auto", "bar", "json", "none"]
STYLES: tuple[Style, ...] = ("auto", "bar", "json", "none")

_JSON_INTERVAL_S = 0.5


class Meter(Protocol):
    """What a phase of the work reports to."""

    def update(self, done: int) -> None:
        """Say how many bytes of the phase are done; as often as one likes."""


@contextmanager
def phase(name: str, total: int | None, style: Style) -> Iterator[Meter]:
    """Show one phase of the work on stderr.

    Args:
        name: such as "write".
        total: bytes that the phase has to go through, or None if that is not known.
        style: how to show it; auto is a bar if stderr is a terminal, else nothing.
    """
    if style == "auto":
        style = "bar" if sys.stderr is not None and sys.stderr.isatty() else "none"
    match style:
        case "bar":
            bar = _Bar(name, total)
            try:
                yield bar
            finally:
                bar.close()
        case "json":
            lines = _Lines(name, total)
            yield lines
            lines.close()
        case "none":
            yield _Nothing()


class _Nothing:
    def update(self, done: int) -> None:
        pass


class _Bar:
    def __init__(self, name: str, total: int | None) -> None:
        # Imported here: only a terminal needs it.
        from shutil import get_terminal_size

        from tqdm import tqdm

        # A serial console often says that it has no columns and no rows; then tqdm would show nothing.
        columns, rows = get_terminal_size()
        self._bar: Any = tqdm(
            desc=f"{name:<6}", total=total, unit="B", unit_scale=True, unit_divisor=1024, ncols=columns, nrows=rows
        )

    def update(self, done: int) -> None:
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _Lines:
    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._total = total
        self._start = time.monotonic()
        self._last = 0.0
        self._done = 0
        self._print("running")

    def update(self, done: int) -> None:
        self._done = done
        if time.monotonic() - self._last >= _JSON_INTERVAL_S:
            self._print("running")

    def close(self) -> None:
        self._print("done")

    def _print(self, state: str) -> None:
        self._last = time.monotonic()
        line = {
            "phase": self._name,
            "state": state,
            "bytes_done": self._done,
            "bytes_total": self._total,
            "seconds": round(self._last - self._start, 3),
        }
        # Nobody there to read it is no reason to stop.
        with suppress(OSError):
            print(json.dumps(line), file=sys.stderr, flush=True)
