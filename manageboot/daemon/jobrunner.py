"""Runs the errands one after the other, and keeps what became of the last one."""

import logging
from collections.abc import Sequence

from manageboot import errors
from manageboot.config import Config
from manageboot.daemon import children
from manageboot.daemon.children import Child, Outcome
from manageboot.daemon.jobs import CONFIRMED, Errand, guarded
from manageboot.daemon.policy import BUSY_S, LOCKING, TELLING, Task
from manageboot.system import console

logger = logging.getLogger(__name__)

_TIMEOUT_S = 150.0


class ErrandRun:
    """The errand on its way, if there is one. Times are in seconds since boot."""

    def __init__(self, config: Config, without: Sequence[int]) -> None:
        """Prepare for errands.

        Args:
            config: the settings.
            without: descriptors that an errand must not have.
        """
        # One that waited for another run for longer than it has time would count as hung. It is sent again instead.
        self._config = config._replace(state=config.state._replace(lock_timeout_s=0))
        self._without = without
        self._child: Child | Outcome | None = None
        self._task: Task | None = None
        self._busy_since_s: float | None = None
        self._kept_from: Task | None = None
        self.succeeded = False
        """Whether the last one did what it was sent for."""
        self.was_confirmed = False
        """Whether it found that the trial was confirmed before its block was lost."""
        self.failed_s: float | None = None
        """When a task last failed, if none succeeded since."""
        self.put_off_s: float | None = None
        """When another run last kept one from telling something, which can wait."""
        self.hung = False
        """Whether one did not end in time."""
        self.busy = False
        """Whether whoever holds the lock of the node seems to hang."""

    @property
    def running(self) -> bool:
        """Whether an errand is on its way."""
        return self._child is not None

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return self._child.descriptors if isinstance(self._child, Child) else []

    @property
    def wake_s(self) -> float | None:
        """When to call `advance` though nothing happens."""
        if isinstance(self._child, Outcome):
            return 0.0
        return None if self._child is None else self._child.wake_s

    def send(self, task: Task | None, errand: Errand, now_s: float) -> None:
        """Start an errand, for a task or only to tell of something."""
        self._task = task
        if console.debug:
            console.debug("job: %s", "tell of something" if task is None else task.value)
        run = guarded(errand, self._config, again=task is not None and task is self._kept_from)
        self._child = children.fork(run, now_s + _TIMEOUT_S, without=self._without)

    def advance(self, now_s: float, *, in_trial: bool) -> Task | None:
        """Go as far as is possible without waiting; return the task that is over, unless it is to be done again."""
        self.was_confirmed = False
        outcome = self._child.advance(now_s) if isinstance(self._child, Child) else self._child
        if outcome is None:
            return None
        task, self._child = self._task, None
        if console.debug:
            console.debug("job ended: %s: %s", "tell of something" if task is None else task.value, outcome)
        if task is None:
            return None
        busy = outcome.status == errors.LockedError.exit_code
        if task in LOCKING:
            self._note_busy(busy, now_s, in_trial)
        self.was_confirmed = outcome.status == CONFIRMED
        self.succeeded = outcome.status in {0, CONFIRMED}
        self.hung = self.hung or outcome.status is None
        # Another run may take long, as an installation does, and that is said once.
        if not self.succeeded and not (busy and task is self._kept_from):
            cause = f": {outcome.said}" if outcome.said else ""
            logger.error("failed: %s (exit status %s)%s", task.value, outcome.status, cause)
        self._kept_from = task if busy else None
        if task in TELLING:
            self.put_off_s = now_s if busy else None
        if task is Task.ARRIVE and not busy:
            # A flush that failed is not tried again.
            self.failed_s = None
        elif task not in TELLING:
            self.failed_s = None if self.succeeded else now_s
        return None if busy else task

    def kill(self) -> None:
        """End the errand that is on its way."""
        if isinstance(self._child, Child):
            self._child.kill()

    def _note_busy(self, busy: bool, now_s: float, in_trial: bool) -> None:
        if not busy:
            self._busy_since_s, self.busy = None, False
        elif self._busy_since_s is None:
            self._busy_since_s = now_s
        elif now_s >= self._busy_since_s + BUSY_S and in_trial:
            # An installation may take longer, but there is none in a trial.
            self.busy = True
