"""The service: watches over a trial, over the devices of the slots, and over reboots that do not come.

One thread and one loop, which sleeps until something happens. What is to be done is decided by `supervision`, and done
by `errands`, in a process of its own each. The verbs need no daemon; what they write, the daemon sees at its next look.
"""

import logging
import os
import select
import signal
import time
from collections.abc import Callable

from manageboot import children, daemonfile, daemonlog, errands, errors, lock, notify, process, sight
from manageboot.children import Child
from manageboot.config import Config
from manageboot.daemonfile import Shown
from manageboot.devicewatch import DeviceWatch
from manageboot.health import Examination, Result
from manageboot.healthrun import HealthRun
from manageboot.protocol import BootState, Phase, explain
from manageboot.supervision import BUSY_S, REBOOTING, Known, Rules, Task, awaits_reboot, decide
from manageboot.traces import Trial

logger = logging.getLogger(__name__)

_LOOK_S = 30.0
"""How often to look at the block, the devices and the hold when nothing happens."""
_LOOK_IN_TRIAL_S = 3.0
_ERRAND_TIMEOUT_S = 150.0
_STOP_S = 10.0
_LOCK_WAIT_S = 20.0
"""A daemon that was killed may have left an errand, which ends soon."""


def run(config: Config) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        LockedError: another daemon runs.
        NotPermittedError, CreateError: the lock can't be made.
    """
    daemonlog.begin()
    with lock.held(daemonfile.lock_path(config.state.lock), "daemon", wait_s=_LOCK_WAIT_S) as descriptor:
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
        self._not_for_errands = () if lock_descriptor is None else (lock_descriptor,)
        self._rules = Rules(config.confirm.policy == "automatic", config.confirm.deadline_s, config.boot.reboot_again)
        self._memory, self._shown = daemonfile.load(config.state.lock)
        self._stored: object = None
        self._watch = DeviceWatch(config.slots, self._shown.devices)
        self._health: HealthRun | None = None
        self._errand: Child | None = None
        self._task: Task | None = None
        self._letters: list[Callable[[Config], None]] = []
        self._failed_s: float | None = None
        self._busy_since_s: float | None = None
        self._hung = False
        self._in_trial = False
        self._repeats = False
        self._devices_shown = False
        self._status = ""
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
        self._look_at_devices(now_s)
        wakes = [now_s + self._look_s, self._watch.wake_s(now_s)]
        if self._errand is None:
            known = self._look(now_s)
            decision = decide(self._rules, known, now_s)
            if decision.task is not None:
                self._begin(decision.task, now_s)
            elif self._letters:
                self._send(None, self._letters.pop(0), now_s)
            in_trial = known.phase is Phase.TRIAL
            wakes += [decision.wake_s, now_s + _LOOK_IN_TRIAL_S if in_trial else None]
        if self._errand is not None:
            wakes.append(self._errand.wake_s)
        if self._health is not None and not self._health.over:
            if self._health.advance(now_s):
                self._tell_results(self._health.examination)
                wakes.append(now_s)
            else:
                wakes.append(self._health.wake_s)
        self._show()
        return min(wake for wake in wakes if wake is not None)

    def _wait(self, until_s: float) -> None:
        poll = select.poll()
        descriptors = [self._wakeup]
        if self._watch.descriptor is not None:
            descriptors.append(self._watch.descriptor)
        if self._errand is not None:
            descriptors += self._errand.descriptors
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
        seen = sight.look(self._config)
        if seen.problem and seen.problem != self._problem:
            logger.error("%s", seen.problem)
        self._problem = seen.problem
        phase = None if seen.state is None else seen.state.phase
        self._in_trial = phase is Phase.TRIAL
        self._remember(phase)
        if seen.state is not None:
            self._repeats = seen.state.grub_wrote_nothing
        memory = self._memory
        known = Known(
            phase=phase,
            damaged=seen.damaged,
            trial=seen.trial,
            blind=seen.grub_tries and not memory.readable,
            held=seen.held,
            verdict=None if self._health is None else self._health.examination.verdict,
            arrived=memory.arrived,
            damage_told=memory.damage_told,
            overdue_told=memory.overdue_told,
            stale=memory.stale,
            hung=self._hung,
            repeats=self._repeats,
            failed_s=self._failed_s,
        )
        if awaits_reboot(known):
            self._memory = memory._replace(waits_since_s=memory.waits_since_s or now_s)
        elif phase is not None:
            # A trial that was given up may not show it, where that could not be written.
            asked_s = memory.asked_s if phase is Phase.TRIAL else None
            self._memory = memory._replace(waits_since_s=None, asked_s=asked_s, overdue_told=False)
        if phase is Phase.TRIAL or known.blind:
            process.prepare()
        self._say(seen.state, known)
        return known._replace(waits_since_s=self._memory.waits_since_s, asked_s=self._memory.asked_s)

    def _remember(self, phase: Phase | None) -> None:
        if phase is None:
            return
        # Until the block says something else, one that can't be read any more is that of a trial.
        if phase is not Phase.TRIAL and not self._memory.readable:
            # What is pending at the first look is of an earlier boot, and this boot did not try it.
            stale = phase is Phase.PENDING and not self._memory.arrived
            self._memory = self._memory._replace(readable=True, stale=stale)
        if phase is not Phase.PENDING:
            self._memory = self._memory._replace(stale=False)
        if phase is not Phase.TRIAL and self._health is not None and not self._health.over:
            logger.info("the trial is over, the health checks are stopped")
            self._health.stop()

    def _begin(self, task: Task, now_s: float) -> None:
        if task is Task.CHECK:
            self._health = HealthRun(self._config.health)
            return
        if task in REBOOTING:
            self._memory = self._memory._replace(asked_s=now_s)
            logger.warning("%s", task.value)
        self._send(task, self._errand_of(task), now_s)

    def _errand_of(self, task: Task) -> Callable[[Config], None]:
        match task:
            case Task.ARRIVE:
                return errands.arrive
            case Task.TELL_DAMAGED:
                return errands.tell_damaged
            case Task.TELL_OVERDUE:
                return errands.tell_overdue
            case Task.CONFIRM:
                return errands.confirm
            case Task.GIVE_UP_DEADLINE:
                return errands.give_up(Trial.DEADLINE, f"not confirmed {self._rules.deadline_s} s after the boot")
            case Task.GIVE_UP_UNHEALTHY:
                return errands.give_up(Trial.UNHEALTHY, "" if self._health is None else self._health.examination.cause)
            case Task.REBOOT | Task.CHECK:
                return errands.reboot(flush=not self._hung)

    def _send(self, task: Task | None, errand: Callable[[Config], None], now_s: float) -> None:
        # What a daemon that is restarted has to know is written down before.
        self._show()
        self._task = task
        self._errand = children.fork(
            errands.guarded(errand, self._config), now_s + _ERRAND_TIMEOUT_S, without=self._not_for_errands
        )

    def _advance_errand(self, now_s: float) -> None:
        outcome = None if self._errand is None else self._errand.advance(now_s)
        if outcome is None:
            return
        task, self._errand = self._task, None
        if task is None:
            return
        busy = outcome.status == errors.LockedError.exit_code
        if not busy:
            self._busy_since_s = None
        elif self._busy_since_s is None:
            self._busy_since_s = now_s
        elif now_s >= self._busy_since_s + BUSY_S and self._in_trial:
            # Whoever holds the lock hangs, so this counts as if the errand did. An installation may take longer, but
            # there is none in a trial.
            self._hung = True
            self._memory = self._memory._replace(arrived=True)
        self._hung = self._hung or outcome.status is None
        if outcome.status != 0:
            logger.error("failed: %s (exit status %s)", task.value, outcome.status)
        # A flush that failed is not tried again, and what is to be told is told once.
        match task:
            case Task.ARRIVE if not busy:
                self._memory = self._memory._replace(arrived=True)
                self._failed_s = None
            case Task.TELL_DAMAGED:
                self._memory = self._memory._replace(damage_told=True)
            case Task.TELL_OVERDUE:
                self._memory = self._memory._replace(overdue_told=True)
            case _:
                self._failed_s = None if outcome.status == 0 else now_s

    def _tell_results(self, examination: Examination) -> None:
        for result in examination.results:
            level = logging.INFO if result.result is Result.PASSED else logging.WARNING
            logger.log(level, "check %s: %s%s", result.name, result.result, f": {result.text}" if result.text else "")
        unwell = [result for result in examination.results if result.good and result.result is not Result.PASSED]
        if unwell:
            self._letters.append(errands.tell_health(unwell))

    def _look_at_devices(self, now_s: float) -> None:
        lost = self._watch.look(now_s)
        news = {key: cause for key, cause in lost.items() if key not in self._shown.devices}
        if lost.keys() != self._shown.devices.keys() or not self._devices_shown:
            self._devices_shown = True
            self._letters.append(errands.tell_devices(lost, news))
        for key in self._shown.devices.keys() - lost.keys():
            logger.info("%s is there again", key)
        self._shown = self._shown._replace(devices=lost)

    def _say(self, state: BootState | None, known: Known) -> None:
        """Put what is known into words, for `systemctl status`, and into what `status` shows."""
        examination = None if self._health is None else self._health.examination
        words = [self._problem or ("" if state is None else explain(state))]
        if known.held:
            words.append("on hold")
        if examination is not None and examination.doing and known.phase is Phase.TRIAL:
            words.append(examination.doing)
        deadline = self._rules.deadline_s if known.phase is Phase.TRIAL or known.blind else 0
        status = "; ".join(words)
        if status != self._status:
            self._status = status
            notify.status(status)
        health = self._shown.health if examination is None else examination.to_json()
        overdue = awaits_reboot(known) and known.overdue_told
        self._shown = Shown(status, float(deadline) if deadline else None, health, self._shown.devices, overdue)

    def _show(self) -> None:
        if self._stored != (self._memory, self._shown):
            self._stored = (self._memory, self._shown)
            daemonfile.store(self._config.state.lock, self._memory, self._shown)

    def _end(self) -> None:
        if self._health is not None:
            self._health.stop()
        ends_s = since_boot() + _STOP_S
        while self._errand is not None and since_boot() < ends_s:
            self._advance_errand(since_boot())
            if self._errand is not None:
                self._wait(ends_s)
        if self._errand is not None:
            self._errand.kill()
