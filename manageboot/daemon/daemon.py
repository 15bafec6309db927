"""The service: watches over a trial, over the devices of the slots, and over reboots that do not come.

One thread and one loop, which sleeps until something happens. `policy` decides what to do, and `jobs` do it, in a
process of its own each. The verbs need no daemon; what they write, the daemon sees at its next look.
"""

import logging
import os
import select
import signal
import time

from manageboot.boot.markers import TrialMarker
from manageboot.config import Config
from manageboot.daemon import borrowed, jobs, notify, statefile
from manageboot.daemon.devicewatch import DeviceWatch
from manageboot.daemon.health import Examination, Result
from manageboot.daemon.jobrunner import JobRunner
from manageboot.daemon.jobs import Job
from manageboot.daemon.localfs import LocalFileSystems
from manageboot.daemon.look import look_at
from manageboot.daemon.observation import FileSystems, Observation
from manageboot.daemon.policy import Rules, decide
from manageboot.daemon.statefile import StateFile
from manageboot.daemon.steps import StepsRun
from manageboot.daemon.tasks import REBOOTING, Task
from manageboot.events import events
from manageboot.protocol import Phase
from manageboot.system import console, lock, process
from manageboot.system.beside import beside

logger = logging.getLogger(__name__)

_LOOK_S = 30.0
"""How often to look at the block, the devices and the inhibit file when nothing happens."""
_LOOK_IN_TRIAL_S = 3.0
_STOP_S = 10.0
_LOCK_WAIT_S = 20.0
"""A daemon that was killed may have left a job, which ends soon."""


def run(config: Config) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LockedError: another daemon runs.
        NotPermittedError, CreateError: the lock can't be made.
    """
    notify.begin_log()
    # Its own may be gone, or be kept from being unmounted.
    os.chdir("/")
    with lock.held(statefile.lock_path(config.state.runtime_directory), "daemon", wait_s=_LOCK_WAIT_S) as descriptor:
        Daemon(config, lock_descriptor=descriptor).run()


def since_boot() -> float:
    """Return the seconds since boot, sleep included. Nobody can set that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """The loop, and its state: what it sees, what it remembers, and what is on its way."""

    def __init__(self, config: Config, *, lock_descriptor: int | None = None) -> None:
        """Go on where the last daemon of this boot stopped.

        Args:
            config: the settings.
            lock_descriptor: the daemon's lock, which a job that hangs must not keep from the next daemon.
        """
        self._config = config
        self._rules = Rules(config.confirm.policy == "automatic", config.confirm.deadline_s, config.boot.reboot_again)
        self._observation = Observation(None)
        self._memory, shown = statefile.load(config.state.runtime_directory)
        # systemd has heard nothing of this daemon yet.
        self._statefile = StateFile(config.state.runtime_directory, shown._replace(status=""))
        self._runner = JobRunner(config, () if lock_descriptor is None else (lock_descriptor,))
        self._queue: list[Job] = []
        """Jobs that only tell of something, and wait until there is nothing else to do."""
        self._file_systems = LocalFileSystems()
        self._checks: Examination | None = None
        self._watch = DeviceWatch(config.slots, shown.devices)
        self._stopping = False

    def run(self) -> None:
        """Run the loop."""
        self._wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        notify.ready()
        while not self._stopping:
            notify.alive()
            self._wait(self._turn(since_boot()))
        notify.stopping()
        self._end()

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _turn(self, now_s: float) -> float:
        """Do all that can be done without waiting, and return when to do so again."""
        if not self._runner.running:
            acted = self._memory.arrived or self._memory.tried
            if (why := borrowed.stays_out(self._config, now_s, acted=acted)) is not None:
                return self._stay_out(why, now_s)
        self._take_in_ended_job(now_s)
        self._ask_for_file_systems(now_s)
        self._watch_devices(now_s)
        wakes = [now_s + _look_s(), self._watch.wake_s(now_s)]
        if not self._runner.running:
            before, self._observation = self._observation, self._observe()
            self._log(before)
            self._memory = self._memory.after_observation(self._observation, now_s)
            self._stop_checks()
            self._load_what_ends_a_trial()
            self._show()
            decision = decide(self._rules, self._observation, self._memory, self._runner.jobs, now_s)
            if console.debug:
                seen = self._observation
                text = "decide: %s; phase=%s, %s; %s; %s; %.3f s since boot: %s"
                console.debug(text, self._rules, seen.phase, seen, self._memory, self._runner.jobs, now_s, decision)
            self._begin(decision.task, now_s)
            wakes.append(decision.wake_s)
            if self._observation.phase is Phase.TRIAL:
                wakes.append(now_s + _LOOK_IN_TRIAL_S)
        if self._go_on_with_checks(now_s):
            wakes.append(now_s)
        self._statefile.store(self._memory)
        wakes += [self._runner.wake_s, *(run.wake_s for run in self._running_steps)]
        return min(wake_s for wake_s in wakes if wake_s is not None)

    def _stay_out(self, why: str, now_s: float) -> float:
        """Do nothing but say why, and return when to look again."""
        # What was begun is of no use any more, and nobody would take in what it says.
        for run in self._running_steps:
            run.stop()
        self._checks, self._file_systems = None, LocalFileSystems()
        if why != self._statefile.shown.status:
            logger.info("%s", why)
            notify.status(why)
        self._statefile.shown = self._statefile.shown._replace(status=why)
        self._statefile.store(self._memory)
        return now_s + _LOOK_IN_TRIAL_S

    @property
    def _running_steps(self) -> list[StepsRun]:
        """The commands on their way."""
        return [self._file_systems.run] if self._checks is None else [self._file_systems.run, self._checks.run]

    @property
    def _descriptors(self) -> list[int]:
        """What shows that a process on its way has something to tell."""
        return [*self._runner.descriptors, *(number for run in self._running_steps for number in run.descriptors)]

    def _wait(self, until_s: float) -> None:
        poll = select.poll()
        for descriptor in (self._wakeup, *self._descriptors):
            poll.register(descriptor, select.POLLIN)
        if self._watch.descriptor is not None:
            poll.register(self._watch.descriptor, select.POLLIN)
        # A poll counts in whole milliseconds: rounded down, it would spin for the last one.
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, until_s - since_boot()) * 1000 + 1)}
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if self._watch.descriptor in ready:
            self._watch.drain()

    def _take_in_ended_job(self, now_s: float) -> None:
        ended = self._runner.advance(now_s, in_trial=self._observation.phase is Phase.TRIAL)
        if ended is not None:
            self._memory = self._memory.after_task(*ended)

    def _ask_for_file_systems(self, now_s: float) -> None:
        if self._file_systems.advance(now_s):
            # The metrics of the last boot are gone, and nothing has happened yet that would write them anew.
            self._queue += [events.refresh, jobs.tell_devices(self._statefile.shown.devices, {})]

    def _watch_devices(self, now_s: float) -> None:
        if self._file_systems.state is FileSystems.AWAITED:
            return
        lost, before = self._watch.look(now_s), self._statefile.shown.devices
        if lost.keys() != before.keys():
            news = {key: cause for key, cause in lost.items() if key not in before}
            self._queue.append(jobs.tell_devices(lost, news))
        for key in before.keys() - lost.keys():
            logger.info("%s is there again", key)
        self._statefile.shown = self._statefile.shown._replace(devices=lost)

    def _observe(self) -> Observation:
        seen = look_at(
            self._config,
            tried=self._memory.tried,
            over=self._memory.readable,
            repeated=self._observation.repeats,
        )
        verdict = None if self._checks is None else self._checks.verdict
        return seen._replace(file_systems=self._file_systems.state, verdict=verdict)

    def _log(self, before: Observation) -> None:
        problem = self._observation.problem
        if problem and problem != before.problem:
            logger.error("%s", problem)

    def _stop_checks(self) -> None:
        """Stop the health checks when the trial is over. Should it go on after all, they begin anew."""
        if self._checks is None or self._checks.run.over or self._observation.phase in {Phase.TRIAL, None}:
            return
        logger.info("the trial is over, the health checks are stopped")
        self._checks.run.stop()
        self._checks = None

    def _load_what_ends_a_trial(self) -> None:
        if self._observation.phase is Phase.TRIAL or self._memory.is_blind(self._observation):
            # Without it there are other ways to go down.
            with beside("the library that runs commands can't be loaded"):
                process.prepare()

    def _show(self) -> None:
        before = self._statefile.shown
        shown = statefile.summarize(
            before,
            self._observation,
            self._memory,
            deadline_s=self._rules.deadline_s,
            doing="" if self._checks is None else self._checks.doing,
            health=None if self._checks is None else self._checks.to_json(),
        )
        if shown.status != before.status:
            notify.status(shown.status)
        self._statefile.shown = shown

    def _begin(self, task: Task | None, now_s: float) -> None:
        if task is Task.CHECK:
            self._checks = Examination(self._config.health)
        elif task is not None:
            if task in REBOOTING:
                self._memory = self._memory.after_asking(now_s)
                logger.warning("%s", task.value)
            self._send(task, self._job_of(task, now_s), now_s)
        elif self._queue:
            self._send(None, self._queue.pop(0), now_s)

    def _job_of(self, task: Task, now_s: float) -> Job:
        insisted_s = now_s - (self._memory.insists_since_s or now_s)
        match task:
            case Task.ARRIVE:
                return jobs.arrive
            case Task.TELL_BOOT_EARLY | Task.TELL_BOOT:
                return jobs.tell_boot
            case Task.TELL_DAMAGED:
                return jobs.tell_damaged
            case Task.TELL_OVERDUE:
                return jobs.tell_overdue
            case Task.CONFIRM:
                return jobs.confirm
            case Task.ABORT_DEADLINE:
                cause = f"not confirmed {self._rules.deadline_s} s after the boot"
                return jobs.abort_trial(TrialMarker.DEADLINE, cause, insisted_s=insisted_s)
            case Task.ABORT_UNHEALTHY:
                cause = "" if self._checks is None else self._checks.cause
                return jobs.abort_trial(TrialMarker.UNHEALTHY, cause, insisted_s=insisted_s)
            case Task.REBOOT:
                return jobs.reboot(
                    flush=not self._runner.jobs.hung,
                    tried=self._memory.tried,
                    ends_trial=self._observation.phase is not Phase.PENDING,
                    insisted_s=insisted_s,
                )
        raise AssertionError(f"there is no job for {task}")

    def _send(self, task: Task | None, job: Job, now_s: float) -> None:
        # What a daemon that is restarted has to know is written down before.
        self._statefile.store(self._memory)
        self._runner.send(task, job, now_s)

    def _go_on_with_checks(self, now_s: float) -> bool:
        """Go on as far as is possible without waiting; return whether they have ended just now."""
        if self._checks is None or self._checks.run.over or not self._checks.run.advance(now_s):
            return False
        results = self._checks.results
        for result in results:
            level = logging.INFO if result.result is Result.PASSED else logging.WARNING
            logger.log(level, "check %s: %s%s", result.name, result.result, f": {result.text}" if result.text else "")
        unwell = [result for result in results if result.good and result.result is not Result.PASSED]
        if unwell:
            self._queue.append(jobs.tell_health(unwell))
        return True

    def _end(self) -> None:
        for run in self._running_steps:
            run.stop()
        ends_s = since_boot() + _STOP_S
        while self._runner.running and since_boot() < ends_s:
            self._take_in_ended_job(since_boot())
            if self._runner.running:
                self._wait(ends_s)
        self._runner.kill()


def _look_s() -> float:
    """Return how often to look when nothing happens; systemd may want to hear of the daemon more often."""
    return min(_LOOK_S, (notify.watchdog_s() or _LOOK_S * 3) / 3)
