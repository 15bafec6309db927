"""One unattended update, as the timer begins it: looks, decides and does, until there is nothing to do right now.

It may be killed at any instant, and may run beside anything that a person does. What it does is done by the verbs,
under their lock; between them it looks anew. What it has to know later is on the disk before they begin.
"""

import time
from typing import assert_never

from manageboot import errors
from manageboot.boot.node import Node, observe
from manageboot.channel.channel import Wanted
from manageboot.config import Config
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.events.metrics import Update
from manageboot.install import install
from manageboot.install.progress import Style
from manageboot.system import lock
from manageboot.system.beside import beside
from manageboot.unattended import decision, lastrun, look, memory, outcome, window, words
from manageboot.unattended.decision import Policy, Result, Step
from manageboot.unattended.lastrun import LastRun
from manageboot.unattended.look import Found
from manageboot.unattended.memory import Memory
from manageboot.unattended.window import Opening
from manageboot.upgrade import verbs

_WAITS = {
    Result.AVAILABLE, Result.BY_HAND, Result.LATER, Result.STAGED, Result.INSTALLED, Result.WAITING, Result.NO_WINDOW,
    Result.CLOCK_BEHIND,
}  # fmt: skip
"""How a run ends with a release that is not tried yet."""
_PUT_OFF = {Result.LATER, Result.BUSY}
"""How a run ends that has not tried what failed before."""
_STEPS_MAX = 4
"""It looks, installs and commits, and ends."""


def update(config: Config, *, retry: bool, progress: Style) -> LastRun:
    """Do what is allowed and due.

    Args:
        config: the settings.
        retry: whether releases are taken again that did not stay here, or were taken back.
        progress: how to show how far an installation is.

    Returns:
        How it ended. Another run at work is no error.

    Raises:
        ManagebootError: as the verbs, and the channel; the next run tries again.

    Durability: that of the verbs. A release that is committed is known to be, so that it is not taken again.
    """
    began = LastRun(Result.BUSY, "nothing is done: another update runs", int(time.time()))
    try:
        with lock.held(lastrun.lock_path(config), "update"):
            return _Run(config, lastrun.load(config) or began, retry=retry, progress=progress).run()
    except errors.LockedError:
        # It tells how it ended itself.
        return began


class _Run:
    """What is known in one run."""

    def __init__(self, config: Config, before: LastRun, *, retry: bool, progress: Style) -> None:
        self._config = config
        self._policy = Policy(config.channel.unattended)
        self._retry = retry
        self._progress = progress
        self._before = before
        self._looked = before.looked
        self._installs = False
        self._memory = Memory()
        self._found: Found | None = None
        self._opening: Opening | None = None

    def run(self) -> LastRun:
        """Do it, and tell how it ended, also where an error ends it."""
        try:
            node = observe(self._config)
            self._remember(node)
            result, node = self._steps(node)
            said = words.of(result, node.booted, self._release, self._opening, self._before.again)
            last = self._told(result, said)
            if result is Result.AVAILABLE:
                self._announce(Event.UPDATE_AVAILABLE, f"Release {self._version} is there", node)
        except errors.LockedError as error:
            last = self._told(Result.BUSY, f"nothing is done: {error}")
        except errors.ManagebootError as error:
            self._told(Result.FAILED, str(error), error.code)
            with beside("the history lacks that an update failed"):
                self._announce(Event.UPDATE_FAILED, f"No update: {error}", observe(self._config), cause=error.code)
            raise
        return last

    def _steps(self, node: Node) -> tuple[Result, Node]:
        for _ in range(_STEPS_MAX):
            # A step may take longer than what is left of a window, and the next one may be open by then.
            if self._policy is Policy.COMMIT:
                self._opening = window.find(self._config, int(time.time()))
            before = None if self._retry else self._before
            seen = look.at_node(self._config, node, self._memory, self._found, self._opening, before)
            step = decision.decide(self._policy, seen)
            match step:
                case Step.LOOK:
                    self._found = look.at_channel(self._config, node, self._memory)
                    self._looked = int(time.time())
                case Step.INSTALL:
                    self._install(node)
                case Step.COMMIT:
                    self._commit(node)
                    return Result.COMMITTED, node
                case Result():
                    return step, node
                case _:
                    assert_never(step)
            node = observe(self._config)
        raise errors.ManagebootError("cannot update: what was installed is not there")

    def _remember(self, node: Node) -> None:
        """Read what is known of earlier updates, and note what has become of them since."""
        try:
            known = memory.load(self._config)
        except errors.DataError:
            if not self._retry:
                raise
            known = Memory()
        if self._retry:
            lifted = outcome.held_transaction(self._config, node)
            fresh = Memory(chosen=known.chosen, replaced=known.replaced, lifted=lifted)
        else:
            fresh = outcome.noted(self._config, node, known)
        if fresh != known:
            self._store(fresh)
        self._memory = fresh
        for one in fresh.set_aside:
            if one not in known.set_aside:
                said = f"Release {one.release.version} is not taken again by itself"
                self._announce(Event.UPDATE_SET_ASIDE, said, node, cause=one.cause)

    def _install(self, node: Node) -> None:
        release = self._release
        assert release is not None
        own = outcome.own_transaction(node, self._memory)
        if self._memory.chosen != release:
            # Else what an earlier update has installed would be taken for somebody's, if this one does not get so far.
            self._store(self._memory._replace(chosen=release, replaced=own))
        wanted = Wanted(only=release.sha256, over=own)
        self._installs = True
        install.install(self._config, [], sha256=None, progress=self._progress, release=wanted)
        self._installs = False

    def _commit(self, node: Node) -> None:
        # Whatever becomes of it, and whether or not anything else tells of it later: once is enough.
        self._store(self._memory._replace(committed=self._release, lifted=None))
        entry = node.records[node.booted.other]
        assert entry.transaction is not None
        verbs.commit(self._config, reboot=True, transaction=entry.transaction)

    def _store(self, fresh: Memory) -> None:
        memory.store(self._config, fresh)
        self._memory = fresh

    def _told(self, result: Result, said: str, code: str | None = None) -> LastRun:
        opens, closes = self._opening or (None, None)
        last = LastRun(result, said, int(time.time()), self._looked, code, self._release, opens, closes)
        if result is Result.FAILED and self._installs:
            last = last.with_failure(self._before)
        elif self._found is None or (result in _PUT_OFF and self._release == self._before.release):
            last = last.still_waiting(self._before)
        with beside("`status` does not know how the update ended"):
            lastrun.store(self._config, last)
        events.show_update(self._config, _measured(last, len(self._memory.set_aside)))
        return last

    def _announce(self, event: Event, said: str, node: Node, *, cause: str | None = None) -> None:
        events.announce(self._config, event, said, slot=node.booted.other, version=self._version, cause=cause)

    @property
    def _release(self) -> memory.Known | None:
        return None if self._found is None else self._found.release

    @property
    def _version(self) -> str | None:
        return None if self._release is None else self._release.version


def _measured(last: LastRun, set_aside: int) -> Update:
    """Return what the metrics have of a run, beside how many releases are not taken again by themselves."""
    waits = last.release if last.result in _WAITS else None
    return Update(
        results=[result.value for result in Result],
        result=last.result.value,
        code=last.code,
        ran=last.ran,
        looked=last.looked,
        waiting_index=0 if waits is None else waits.release_index,
        opens=last.opens,
        set_aside=set_aside,
    )
