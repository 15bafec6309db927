"""The service: watches over a trial, over the devices of the slots, and over reboots that do not come.

One thread and one loop, which sleeps until something happens. What is to be done is decided by `supervision`, and done
by `errands`, in a process of its own each. The verbs need no daemon; what they write, the daemon sees at its next look.
"""

import logging
import os
import select
import signal
import time

from manageboot.boot.markers import Trial
from manageboot.config import Config
from manageboot.daemon import jobs, localfs, log, memory, notify, observation, statefile
from manageboot.daemon.devicewatch import DeviceWatch
from manageboot.daemon.display import Display
from manageboot.daemon.health import Examination, Result
from manageboot.daemon.jobrunner import ErrandRun
from manageboot.daemon.jobs import Errand
from manageboot.daemon.policy import REBOOTING, Known, Rules, Task, decide
from manageboot.daemon.steps import StepsRun
from manageboot.events import events
from manageboot.protocol import Phase
from manageboot.system import console, lock, process
from manageboot.system.beside import beside

logger = logging.getLogger(__name__)

_LOOK_S = 30.0
"""How often to look at the block, the devices and the hold when nothing happens."""
_LOOK_IN_TRIAL_S = 3.0
_STOP_S = 10.0
_LOCK_WAIT_S = 20.0
"""A daemon that was killed may have left an errand, which ends soon."""


def run(config: Config) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LockedError: another daemon runs.
        NotPermittedError, CreateError: the lock can't be made.
    """
    log.begin()
    # Its own may be gone, or be kept from being unmounted.
    os.chdir("/")
    with lock.held(statefile.lock_path(config.state.runtime_directory), "daemon", wait_s=_LOCK_WAIT_S) as descriptor:
        Daemon(config, lock_descriptor=descriptor).run()


def since_boot() -> float:
    """Return the seconds since boot, sleep included. Nobody can set that clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Daemon:
    """The loop, and what it remembers."""

    def __init__(self, config: Config, *, lock_descriptor: int | None = None) -> None:
        """Go on where the last daemon of this boot stopped.

        Args:
            config: the settings.
            lock_descriptor: the daemon's lock, which an errand that hangs must not keep from the next daemon.
        """
        self._config = config
        self._rules = Rules(config.confirm.policy == "automatic", config.confirm.deadline_s, config.boot.reboot_again)
        self._memory, shown = statefile.load(config.state.runtime_directory)
        self._display = Display(config, shown)
        self._watch = DeviceWatch(config.slots, shown.devices)
        self._local = StepsRun(localfs.steps())
        self._examination: Examination | None = None
        self._health: StepsRun | None = None
        self._errands = ErrandRun(config, () if lock_descriptor is None else (lock_descriptor,))
        self._letters: list[Errand] = []
        self._phase: Phase | None = None
        self._repeats = False
        self._mounted = False
        self._early = False
        self._problem = ""
        self._stopping = False
        self._look_s = min(_LOOK_S, (notify.watchdog_s() or _LOOK_S * 3) / 3)

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
        """Do all that can be done without waiting, and return when to look again."""
        self._advance_errand(now_s)
        self._wait_for_file_systems(now_s)
        if self._mounted:
            self._look_at_devices(now_s)
        wakes = [now_s + self._look_s, self._watch.wake_s(now_s), self._local.wake_s]
        if not self._errands.running:
            known = self._look(now_s)
            decision = decide(self._rules, known, now_s)
            if console.debug:
                console.debug("decide: %s; %s; %.3f s since boot: %s", self._rules, known, now_s, decision)
            if decision.task is not None:
                self._begin(decision.task, now_s)
            elif self._letters:
                self._send(None, self._letters.pop(0), now_s)
            in_trial = known.phase is Phase.TRIAL
            wakes += [decision.wake_s, now_s + _LOOK_IN_TRIAL_S if in_trial else None]
        wakes.append(self._errands.wake_s)
        if self._health is not None and self._examination is not None and not self._health.over:
            if self._health.advance(now_s):
                self._tell_results(self._examination)
                wakes.append(now_s)
            else:
                wakes.append(self._health.wake_s)
        self._display.store(self._memory)
        return min(wake for wake in wakes if wake is not None)

    def _wait(self, until_s: float) -> None:
        poll = select.poll()
        descriptors = [self._wakeup, *self._errands.descriptors, *self._local.descriptors]
        if self._watch.descriptor is not None:
            descriptors.append(self._watch.descriptor)
        if self._health is not None and not self._health.over:
            descriptors += self._health.descriptors
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        # A poll counts in whole milliseconds: rounded down, it would spin for the last one.
        ready = {descriptor for descriptor, _ in poll.poll(max(0.0, until_s - since_boot()) * 1000 + 1)}
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if self._watch.descriptor in ready:
            self._watch.drain()

    def _look(self, now_s: float) -> Known:
        self._memory = memory.until(self._memory, now_s)
        seen = observation.look(self._config, tried=self._memory.tried, over=self._memory.readable)
        if seen.problem and seen.problem != self._problem:
            logger.error("%s", seen.problem)
        self._problem = seen.problem
        phase = None if seen.state is None else seen.state.phase
        self._phase = phase
        self._memory = memory.after_look(self._memory, phase, may_be_stale=seen.may_be_stale)
        if phase not in {Phase.TRIAL, None} and self._health is not None and not self._health.over:
            logger.info("the trial is over, the health checks are stopped")
            self._health.stop()
            # Should the trial go on after all, they begin anew.
            self._examination = self._health = None
        if seen.state is not None:
            self._repeats = seen.state.grub_wrote_nothing
        known = Known(
            phase=phase,
            damaged=seen.damaged,
            trial="" if self._memory.stale_trial else seen.trial,
            blind=(seen.grub_tries or self._memory.tried) and not self._memory.readable,
            held=seen.held,
            verdict=None if self._examination is None else self._examination.verdict,
            arrived=self._memory.arrived,
            mounted=self._mounted,
            boot_told=self._memory.boot_told or (self._memory.boot_told_early and not self._local.over),
            damage_told=self._memory.damage_told,
            overdue_told=self._memory.overdue_told,
            stale=self._memory.stale,
            hung=self._errands.hung,
            busy=self._errands.busy,
            repeats=self._repeats,
            failed_s=self._errands.failed_s,
            put_off_s=self._errands.put_off_s,
        )
        self._memory = memory.after_wait(self._memory, known, now_s)
        if phase is Phase.TRIAL or known.blind:
            # Without it there are other ways to go down.
            with beside("the library that runs commands can't be loaded"):
                process.prepare()
        self._display.say(seen.state, seen.problem, known, self._examination)
        return known._replace(waits_since_s=self._memory.waits_since_s, asked_s=self._memory.asked_s)

    def _begin(self, task: Task, now_s: float) -> None:
        if task is Task.CHECK:
            self._examination = Examination(self._config.health)
            self._health = StepsRun(self._examination.steps())
            return
        if task in REBOOTING:
            self._memory = memory.after_asking(self._memory, now_s)
            logger.warning("%s", task.value)
        self._send(task, self._errand_of(task, now_s), now_s)

    def _errand_of(self, task: Task, now_s: float) -> Errand:
        insisted_s = now_s - (self._memory.insists_since_s or now_s)
        match task:
            case Task.ARRIVE:
                return jobs.arrive
            case Task.TELL_BOOT:
                return jobs.tell_boot
            case Task.TELL_DAMAGED:
                return jobs.tell_damaged
            case Task.TELL_OVERDUE:
                return jobs.tell_overdue
            case Task.CONFIRM:
                return jobs.confirm
            case Task.GIVE_UP_DEADLINE:
                cause = f"not confirmed {self._rules.deadline_s} s after the boot"
                return jobs.give_up(Trial.DEADLINE, cause, insisted_s=insisted_s)
            case Task.GIVE_UP_UNHEALTHY:
                cause = "" if self._examination is None else self._examination.cause
                return jobs.give_up(Trial.UNHEALTHY, cause, insisted_s=insisted_s)
            case Task.REBOOT | Task.CHECK:
                return jobs.reboot(
                    flush=not self._errands.hung,
                    tried=self._memory.tried,
                    trial=self._phase is not Phase.PENDING,
                    insisted_s=insisted_s,
                )

    def _send(self, task: Task | None, errand: Errand, now_s: float) -> None:
        # What a daemon that is restarted has to know is written down before.
        self._display.store(self._memory)
        self._early = not self._local.over
        self._errands.send(task, errand, now_s)

    def _advance_errand(self, now_s: float) -> None:
        task = self._errands.advance(now_s, in_trial=self._phase is Phase.TRIAL)
        if task is not None:
            succeeded = self._errands.succeeded
            self._memory = memory.after_task(self._memory, task, succeeded=succeeded, early=self._early)
        if self._errands.was_confirmed:
            self._memory = memory.after_refusal(self._memory)

    def _tell_results(self, examination: Examination) -> None:
        for result in examination.results:
            level = logging.INFO if result.result is Result.PASSED else logging.WARNING
            logger.log(level, "check %s: %s%s", result.name, result.result, f": {result.text}" if result.text else "")
        unwell = [result for result in examination.results if result.good and result.result is not Result.PASSED]
        if unwell:
            self._letters.append(jobs.tell_health(unwell))

    def _wait_for_file_systems(self, now_s: float) -> None:
        if self._local.over:
            return
        # Once its patience is at an end it goes by what is there, and once more when systemd is done.
        if self._local.advance(now_s) or (now_s >= localfs.PATIENCE_S and not self._mounted):
            self._mounted = True
            # The metrics of the last boot are gone, and nothing has happened yet that would write them anew.
            self._letters += [events.refresh, jobs.tell_devices(self._display.devices, {})]

    def _look_at_devices(self, now_s: float) -> None:
        lost, before = self._watch.look(now_s), self._display.devices
        news = {key: cause for key, cause in lost.items() if key not in before}
        if lost.keys() != before.keys():
            self._letters.append(jobs.tell_devices(lost, news))
        for key in before.keys() - lost.keys():
            logger.info("%s is there again", key)
        self._display.show_devices(lost)

    def _end(self) -> None:
        for steps in (self._local, self._health):
            if steps is not None:
                steps.stop()
        ends_s = since_boot() + _STOP_S
        while self._errands.running and since_boot() < ends_s:
            self._advance_errand(since_boot())
            if self._errands.running:
                self._wait(ends_s)
        self._errands.kill()
