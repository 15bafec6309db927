"""Runs the health checks one after the other, as an event loop has time for them."""

from manageboot.children import Child, Outcome, spawn
from manageboot.config import HealthConfig
from manageboot.health import Command, Examination, Pause


class HealthRun:
    """An examination on its way. Times are those of the clock that the caller has."""

    def __init__(self, config: HealthConfig) -> None:
        """Prepare it; the first call of `advance` begins."""
        self.examination = Examination(config)
        self._steps = self.examination.steps()
        self._child: Child | None = None
        self._answer: Outcome | None = None
        self._pause_s: float | None = None
        self.over = False

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [] if self._child is None else self._child.descriptors

    @property
    def wake_s(self) -> float | None:
        """When to call `advance` though nothing happens."""
        return self._pause_s if self._child is None else self._child.wake_s

    def advance(self, now_s: float) -> bool:
        """Go as far as is possible without waiting; return whether all is done."""
        while not self.over:
            if self._child is not None:
                self._answer = self._child.advance(now_s)
                if self._answer is None:
                    return False
                self._child = None
            elif self._pause_s is not None and now_s < self._pause_s:
                return False
            self._pause_s = None
            answer, self._answer = self._answer, None
            self._next(answer, now_s)
        return True

    def stop(self) -> None:
        """Kill what runs; the results so far stay."""
        if self._child is not None:
            self._child.kill()
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
            case Command(argv, timeout_s):
                started = spawn(argv, now_s + timeout_s)
                if isinstance(started, Outcome):
                    self._answer = started
                else:
                    self._child = started
