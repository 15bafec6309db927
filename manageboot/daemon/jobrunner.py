"""Runs the jobs one after the other, each in a process of its own, and keeps what became of them."""

import logging
from collections.abc import Sequence

from manageboot.config import Config
from manageboot.daemon import children
from manageboot.daemon.children import Child, Outcome
from manageboot.daemon.jobs import Job, guarded, result_of
from manageboot.daemon.tasks import JobResult, Jobs, Task
from manageboot.system import console

logger = logging.getLogger(__name__)

_TIMEOUT_S = 150.0


class JobRunner:
    """The job on its way, if there is one. Times are in seconds since boot."""

    def __init__(self, config: Config, without: Sequence[int]) -> None:
        """Prepare for jobs.

        Args:
            config: the settings.
            without: descriptors that a job must not have.
        """
        # One that waited for another run for longer than it has time would count as hung. It is sent again instead.
        self._config = config._replace(state=config.state._replace(lock_timeout_s=0))
        self._without = without
        self._child: Child | Outcome | None = None
        self._task: Task | None = None
        self.jobs = Jobs()
        """What became of those before."""

    @property
    def running(self) -> bool:
        """Whether a job is on its way."""
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

    def send(self, task: Task | None, job: Job, now_s: float) -> None:
        """Start a job, for a task or only to tell of something."""
        self._task = task
        if console.debug:
            console.debug("job: %s", "tell of something" if task is None else task.value)
        run = guarded(job, self._config, again=task is not None and task is self.jobs.locked_out)
        self._child = children.fork(run, now_s + _TIMEOUT_S, without=self._without)

    def advance(self, now_s: float, *, in_trial: bool) -> tuple[Task, JobResult] | None:
        """Go as far as is possible without waiting; return the task whose job has ended, and how.

        Args:
            now_s: seconds since boot.
            in_trial: whether the booted slot is on trial.
        """
        outcome = self._child.advance(now_s) if isinstance(self._child, Child) else self._child
        if outcome is None:
            return None
        task, self._child = self._task, None
        if console.debug:
            console.debug("job ended: %s: %s", "tell of something" if task is None else task.value, outcome)
        if task is None:
            return None
        result = result_of(outcome.status)
        # Another run may take long, as an installation does, and that is said once.
        if not result.is_success and not (result is JobResult.LOCKED and task is self.jobs.locked_out):
            cause = f": {outcome.said}" if outcome.said else ""
            end = f"no end after {_TIMEOUT_S:g} s" if result is JobResult.HUNG else f"exit status {outcome.status}"
            logger.error("failed: %s (%s)%s", task.value, end, cause)
        self.jobs = self.jobs.after(task, result, now_s, in_trial=in_trial)
        return task, result

    def kill(self) -> None:
        """End the job that is on its way."""
        if isinstance(self._child, Child):
            self._child.kill()
