"""How far a run is: a bar for a terminal, JSON Lines for a program, a line for the journal; and a file for `status`."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, NamedTuple, Protocol

from manageboot.channel.ways import Way
from manageboot.install.progressfile import ProgressFile
from manageboot.system import console
from manageboot.system.beside import beside

_UNSHOWN = "how far the work is can't be shown"

Style = Literal["auto", "bar", "json", "none"]

_JSON_INTERVAL_S = 0.5


class Counts(NamedTuple):
    """What a step has done so far, in bytes."""

    done: int = 0
    """Of the step's total."""
    written: int = 0
    """Data that went to the devices; zeros that they made themselves do not count."""
    kept: int = 0
    """Data that the devices held already."""
    verified: int = 0
    """What was read back."""


class Meter(Protocol):
    """What a step of the work reports to."""

    def update(self, counts: Counts) -> None:
        """Say what the step has done; as often as one likes."""
        ...

    def close(self, *, whole: bool) -> None:
        """Say that the step has ended, and whether it did all it had to."""
        ...


@contextmanager
def step(name: str, total: int | None, style: Style, file: ProgressFile | None = None) -> Iterator[Meter]:
    """Show one step of the work on stderr, and in the file where there is one.

    Args:
        name: such as "write".
        total: bytes that the step has to go through, or None if that is not known.
        style: how to show it; auto is a bar if stderr is a terminal, a line if it is the journal, else nothing.
        file: where other processes see it.
    """
    meter = _Meters(name, total, style, file)
    with ExitStack() as stack:
        stack.callback(meter.close, whole=False)
        yield meter
        stack.pop_all()
        meter.close(whole=True)


def show_ways(ways: Sequence[Way], style: Style) -> None:
    """Show what each way costs by which a release may come, the one that is taken first."""
    with beside(_UNSHOWN):
        if style == "json":
            line = _line("choose", "done", None, Counts(), time.monotonic())
            console.show(f"{json.dumps({**line, 'ways': [way.to_json() for way in ways]})}\n")
        elif style == "bar" or (style == "auto" and _is_watched()):
            taken, *others = map(str, ways)
            console.tell(f"manageboot: takes {', not '.join([taken, *others])}")


def _is_watched() -> bool:
    return console.is_journal() or (sys.stderr is not None and sys.stderr.isatty())


class _Meters:
    """What is shown, and the file, behind one face."""

    def __init__(self, name: str, total: int | None, style: Style, file: ProgressFile | None) -> None:
        self._name = name
        self._total = total
        self._file = file
        self._shown = _shown(name, total, style)
        self._start = time.monotonic()
        self.update(Counts())

    def update(self, counts: Counts) -> None:
        with beside(_UNSHOWN):
            self._shown.update(counts)
        if self._file is None:
            return
        with beside(_UNSHOWN):
            self._file.update(_line(self._name, "running", self._total, counts, self._start))

    def close(self, *, whole: bool) -> None:
        with beside(_UNSHOWN):
            self._shown.close(whole=whole)


def _shown(name: str, total: int | None, style: Style) -> Meter:
    if style == "auto" and console.is_journal():
        return _JournalLine(name)
    if style == "auto":
        style = "bar" if sys.stderr is not None and sys.stderr.isatty() else "none"
    match style:
        case "bar":
            try:
                return _Bar(name, total)
            except Exception:  # noqa: BLE001  tqdm goes by the environment; what may be missed stops no work
                return _Nothing()
        case "json":
            return _Lines(name, total)
        case _:
            return _Nothing()


def _line(name: str, state: str, total: int | None, counts: Counts, start: float) -> dict[str, Any]:
    seconds = time.monotonic() - start
    # At the pace so far; in the first second that would be a guess.
    known = total is not None and 0 < counts.done <= total and seconds >= 1
    return {
        "phase": name,
        "state": state,
        "bytes_done": counts.done,
        "bytes_total": total,
        "bytes_written": counts.written,
        "bytes_kept": counts.kept,
        "bytes_verified": counts.verified,
        "seconds": round(seconds, 3),
        "seconds_left": round(seconds * ((total or 0) / counts.done - 1)) if known else None,
    }


class _Screen:
    """stderr as tqdm wants it, which nothing can block."""

    encoding = "utf-8"

    def write(self, text: str) -> None:
        console.show(text)

    def flush(self) -> None:
        pass


class _Nothing:
    def update(self, counts: Counts) -> None:
        pass

    def close(self, *, whole: bool) -> None:
        pass


class _Bar:
    def __init__(self, name: str, total: int | None) -> None:
        # Imported here: only a terminal needs it.
        from shutil import get_terminal_size

        from tqdm import tqdm

        # A serial console often says that it has no columns and no rows; then tqdm would show nothing.
        columns, rows = get_terminal_size()
        self._bar: Any = tqdm(
            desc=f"{name:<7}",
            total=total,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            ncols=columns,
            nrows=rows,
            file=_Screen(),
        )

    def update(self, counts: Counts) -> None:
        self._bar.update(counts.done - self._bar.n)

    def close(self, *, whole: bool) -> None:  # noqa: ARG002  the bar shows how far it got
        self._bar.close()


class _JournalLine:
    def __init__(self, name: str) -> None:
        self._name = name
        self._counts = Counts()
        self._start = time.monotonic()

    def update(self, counts: Counts) -> None:
        self._counts = counts

    def close(self, *, whole: bool) -> None:
        done = "done" if whole else "stopped"
        written, kept, verified = (f"{count >> 20} MiB" for count in self._counts[1:])
        figures = f"{written} written, {kept} there already, {verified} read back"
        console.tell(f"manageboot: {self._name} {done} after {time.monotonic() - self._start:.1f} s: {figures}")


class _Lines:
    def __init__(self, name: str, total: int | None) -> None:
        self._name = name
        self._total = total
        self._start = time.monotonic()
        self._last = float("-inf")
        self._counts = Counts()

    def update(self, counts: Counts) -> None:
        self._counts = counts
        if time.monotonic() - self._last >= _JSON_INTERVAL_S:
            self._last = time.monotonic()
            self._show("running")

    def close(self, *, whole: bool) -> None:
        self._show("done" if whole else "stopped")

    def _show(self, state: str) -> None:
        line = _line(self._name, state, self._total, self._counts, self._start)
        console.show(f"{json.dumps(line)}\n")
