"""Commands to run one after the other, and time to let pass in between, as an event loop has time for them.

What to run next is said by a generator, which is told how the last one ended; so it needs neither systemd nor time to
be tested.
"""

from collections.abc import Generator
from typing import NamedTuple

from manageboot.daemon.children import Child, Outcome, spawn
from manageboot.system import console
from manageboot.system.process import shell_line


class Command(NamedTuple):
    """A program to run, and how long it may take."""

    argv: tuple[str, ...]
    timeout_s: float
    mixed: bool = False
    """Whether all that it prints is only shown, so that stderr may go where stdout does."""


class Pause(NamedTuple):
    """Time to let pass."""

    seconds: float


Steps = Generator[Command | Pause, Outcome | None, None]
"""What to do, one after the other; a command is answered by its outcome, a pause by None."""


class StepsRun:
    """Steps on their way. Times are those of the clock that the caller has."""

    def __init__(self, steps: Steps) -> None:
        """Prepare them; the first call of `advance` begins."""
        self._steps = steps
        self._child: Child | None = None
        self._program = ""
        self._started_s = 0.0
        self._answer: Outcome | None = None
        self._pause_s: float | None = None
        self.over = False

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [] if self._child is None or self.over else self._child.descriptors

    @property
    def wake_s(self) -> float | None:
        """When to call `advance` though nothing happens."""
        if self.over:
            return None
        return self._pause_s if self._child is None else self._child.wake_s

    def advance(self, now_s: float) -> bool:
        """Go as far as is possible without waiting; return whether all is done."""
        while not self.over:
            if self._child is not None:
                self._answer = self._child.advance(now_s)
                if self._answer is None:
                    return False
                self._child = None
                if console.debug:
                    console.debug("ended after %.3f s: %s", now_s - self._started_s, self._how(self._answer))
            elif self._pause_s is not None and now_s < self._pause_s:
                return False
            self._pause_s = None
            answer, self._answer = self._answer, None
            self._next(answer, now_s)
        return True

    def stop(self) -> None:
        """Kill what runs."""
        if self._child is not None:
            self._child.end()
            self._child = None
        self.over = True

    def _next(self, answer: Outcome | None, now_s: float) -> None:
        try:
            step = self._steps.send(answer)
        except StopIteration:
            self.over = True
            return
        match step:
            case Pause(seconds):
                self._pause_s = now_s + seconds
            case Command(argv, timeout_s, mixed):
                self._program, self._started_s = argv[0], now_s
                if console.debug:
                    console.debug("run: %s", shell_line(argv))
                started = spawn(argv, now_s + timeout_s, mixed=mixed)
                if isinstance(started, Outcome):
                    self._answer = started
                    if console.debug:
                        console.debug("ended after 0.000 s: %s", self._how(started))
                else:
                    self._child = started

    def _how(self, outcome: Outcome) -> str:
        """Say how a command ended, for `--debug`."""
        return f"{self._program} " + ("took too long" if outcome.status is None else f"exited with {outcome.status}")
