"""The jobs of the daemon, each in a process of its own: a disk that hangs there does not hang the daemon.

Each takes the lock as the verbs do. What it can't do is logged.
"""

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import IntEnum

from manageboot import errors
from manageboot.boot import envblock, fallback, trusted
from manageboot.boot.cmdline import booted_slot
from manageboot.boot.envblock import Condition
from manageboot.boot.markers import TrialMarker
from manageboot.boot.node import Node, observe, running_version
from manageboot.config import Config
from manageboot.daemon import children, lastresort
from manageboot.daemon.health import CheckResult
from manageboot.daemon.tasks import JobResult
from manageboot.events import events
from manageboot.events.events import Event
from manageboot.protocol import Phase, Slot, describe
from manageboot.system import console, signals
from manageboot.system.beside import beside
from manageboot.upgrade import abort, inhibit, verbs

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
_FLUSH_S = 10.0

_CONFIRMED_STATUS = 3
"""The exit status for `JobResult.CONFIRMED`; no bug and no signal gives it."""

Job = Callable[[Config], JobResult | None]
"""What to do; None: it was done. Where it can't be done, an error is raised."""


class _LastLook(IntEnum):
    """Whether the node still has a reason to go down, as an exit status that no bug and no signal gives."""

    GOES_DOWN = 0
    STAYS = 1
    CONFIRMED = 3
    """It stays, because the trial was confirmed before its block was lost."""


def guarded(job: Job, config: Config, *, again: bool = False) -> Callable[[], int]:
    """Give a job the form that a child process needs: it logs its errors, and ends in good order at a signal.

    Args:
        job: what to do.
        config: the settings.
        again: whether another run kept it from the lock before, so that this need not be said any more.
    """

    def run() -> int:
        signals.listen()
        try:
            return _CONFIRMED_STATUS if job(config) is JobResult.CONFIRMED else 0
        except errors.ManagebootError as error:
            level = logging.DEBUG if again and isinstance(error, errors.LockedError) else logging.ERROR
            logger.log(level, "%s [%s]%s", error, error.code, f"; {error.hint}" if error.hint else "")
            return error.exit_code
        except (signals.Terminated, KeyboardInterrupt):
            return 143
        except Exception as error:
            known = errors.of_the_system(error)
            if known is None:
                logger.exception("a bug in manageboot; please report it")
                return errors.ManagebootError.exit_code
            logger.error("%s [%s]", known, known.code)
            return known.exit_code

    return run


def result_of(status: int | None) -> JobResult:
    """Say how a guarded job ended, by its exit status, which is None where it was killed because its time was up."""
    known = {
        0: JobResult.DONE,
        _CONFIRMED_STATUS: JobResult.CONFIRMED,
        errors.LockedError.exit_code: JobResult.LOCKED,
        None: JobResult.HUNG,
    }
    return known.get(status, JobResult.FAILED)


def arrive(config: Config) -> None:
    """Force down what GRUB wrote, leave the marker in a trial, and tell of it. The records need not be there yet."""
    before = observe(config)
    logger.info("%s%s", verbs.arrive(config), _what_grub_said(before))
    if before.environment.state is None:
        return
    state, grub = before.state, before.grub
    if state.phase is Phase.TRIAL:
        _tell(config, before, Event.TRIAL_STARTED, f"Slot {before.booted} is on trial")
        reads_other_block = grub is not None and grub.nonce != before.environment.markers.nonce
        if state.grub_wrote_nothing or reads_other_block:
            who = "GRUB" if before.by_grub else "Something else than GRUB"
            _tell(config, before, Event.NOT_ACKNOWLEDGED, f"{who} started the trial, and did not write that down")


def tell_boot(config: Config) -> None:
    """Tell what this boot is, as far as the records tell it: of a fallback, the cause. Complete a confirm."""
    node = observe(config)
    if (fell_back := fallback.detect(node)) is not None:
        events.announce_fallback(config, node, fell_back)
    # An empty block says of a trial of slot A what it says of a slot that is trusted, so it counts for nothing here.
    if node.environment.condition is Condition.OK and verbs.half_confirmed(node):
        # Whoever began it thinks that it is done; until it is, the other slot is no way back.
        # It may have to wait for another run, so all that is said once comes after it.
        logger.info("a confirm was cut short, and is completed: %s", verbs.confirm(config))
        node = observe(config)
    entry = node.records.get(node.booted)
    if node.record_problem is not None:
        logger.warning("%s", node.record_problem)
    logger.info("slot %s %s", node.booted, "has no record" if entry is None else f"is {entry.content} in its record")


def tell_damaged(config: Config) -> None:
    """Tell that the block says nothing."""
    node = observe(config)
    if node.environment.condition is Condition.DAMAGED:
        _tell(config, node, Event.BLOCK_DAMAGED, str(node.environment.problem))


def confirm(config: Config) -> None:
    """Confirm the trial, unless it was aborted in this boot.

    Raises:
        NotOnTrialError: it was.
    """
    node = observe(config)
    markers = node.environment.markers
    if markers.aborted and abort.in_this_boot(config, markers.trial):
        raise errors.NotOnTrialError(f"cannot confirm: the trial of slot {node.booted} was aborted in this boot")
    logger.info("the health checks passed: %s", verbs.confirm(config))


def abort_trial(because: TrialMarker, cause: str, *, insisted_s: float = 0.0) -> Job:
    """Make the job that aborts a trial and reboots.

    Args:
        because: what is written into the block.
        cause: the same in words.
        insisted_s: for how many seconds a reboot has been asked for in vain.
    """

    def job(config: Config) -> JobResult | None:
        event = Event.DEADLINE if because is TrialMarker.DEADLINE else Event.HEALTH_FAILED
        try:
            verbs.rollback(config, reboot=False, because=because)
        except errors.NotOnTrialError:
            logger.info("the trial is over, it was confirmed in the last moment")
            return None
        except errors.LockedError:
            raise
        except Exception as error:
            # Whatever keeps it from being written: a file system that is read-only since an error of its own, or a
            # library that the system on trial lacks.
            if not _goes_back(observe(config)):
                raise
            # What GRUB wrote suffices; only the cause is lost.
            cause_of_loss = error if isinstance(error, errors.ManagebootError) else f"{type(error).__name__}: {error}"
            logger.error("the cause of the fallback is not recorded: %s", cause_of_loss)
        with beside("the end of the trial is not announced"):
            node = observe(config)
            _tell(config, node, event, f"The trial of slot {node.booted} is aborted: {cause}")
        return reboot(flush=True, tried=True, insisted_s=insisted_s)(config)

    return job


def tell_overdue(config: Config) -> None:
    """Tell that a reboot did not come."""
    node = observe(config)
    _tell(config, node, Event.REBOOT_MISSING, f"The node waits for a reboot: {describe(node.state)}")


def tell_health(results: list[CheckResult]) -> Job:
    """Make the job that tells of checks which are only wanted, and failed."""

    def job(config: Config) -> None:
        for result in results:
            _tell(config, observe(config), Event.HEALTH_WARNING, f"{result.name} {result.result}: {result.text}")

    return job


def tell_devices(lost: Mapping[str, str], news: Mapping[str, str]) -> Job:
    """Make the job that tells of devices which are gone or failed, and renews their metrics.

    Args:
        lost: what is wrong with which device.
        news: those that were not told of yet.
    """

    def job(config: Config) -> None:
        events.show_devices(config, lost)
        for key, cause in news.items():
            events.announce(config, Event.DEVICE_LOST, f"{key}: {cause}", slot=_slot_of(key), cause=key)

    return job


def reboot(*, flush: bool, tried: bool, ends_trial: bool = True, insisted_s: float = 0.0) -> Job:
    """Make the job that asks for a reboot and leaves the block as it is, unless the node is to stay after all.

    Args:
        flush: whether the disks are flushed before, in case the node is in no state to do so by itself.
        tried: whether a trial was seen in this boot.
        ends_trial: whether it is a trial that has to end, and no commit that waits.
        insisted_s: for how many seconds a reboot has been asked for in vain.
    """

    def job(config: Config) -> JobResult | None:
        # Each in a child: one that waits for a disk that hangs must not keep the node from going down.
        answer = children.within(_LOOK_S, lambda: _look_again(config, tried))
        if answer in {_LastLook.STAYS, _LastLook.CONFIRMED}:
            return JobResult.CONFIRMED if answer == _LastLook.CONFIRMED else None
        if flush and children.within(_FLUSH_S, _flush) is None:
            logger.warning("the disks are not flushed after %g s, the node reboots all the same", _FLUSH_S)
        lastresort.go_down(config, ends_trial=ends_trial, insisted_s=insisted_s)
        return None

    return job


def _look_again(config: Config, tried: bool) -> _LastLook:
    """Say whether the node still has a reason to go down: somebody may have decided otherwise meanwhile."""
    if inhibit.active(config):
        logger.info("no reboot: a person is at work")
        return _LastLook.STAYS
    try:
        node = observe(config)
        envblock.check_present(node.environment)
        is_lost = node.lost_its_block(tried=tried)
        over = not is_lost and node.state.phase not in {Phase.TRIAL, Phase.PENDING}
    except errors.ManagebootError:
        is_lost, over = True, False
    # Where the block says nothing, the others are asked whether the trial was confirmed before it was lost.
    confirmed = is_lost and _was_confirmed(config)
    if over or confirmed:
        logger.info("no reboot: the trial is over")
    if confirmed:
        return _LastLook.CONFIRMED
    return _LastLook.STAYS if over else _LastLook.GOES_DOWN


def _was_confirmed(config: Config) -> bool:
    with suppress(errors.ManagebootError):
        if trusted.read(config.boot.grubenv) is booted_slot(config.boot):
            return True
    return events.happened(config, Event.CONFIRMED)


def _flush() -> int:
    os.sync()
    if console.debug:
        console.debug("flush all disks")
    return 0


def _goes_back(node: Node) -> bool:
    """Say whether reboots lead to the other slot as the block is now."""
    if node.environment.state is None:
        return False
    return node.state.phase is Phase.TRIAL and not node.state.grub_wrote_nothing


def _slot_of(key: str) -> Slot:
    """Return the slot in a key such as slots.A.root."""
    return Slot(key.split(".")[1])


def _tell(config: Config, node: Node, event: Event, message: str) -> None:
    events.announce(config, event, message, slot=node.booted, version=running_version())


def _what_grub_said(node: Node) -> str:
    block, grub = node.environment.state, node.grub
    words = [] if block is None else [f"boot_alternative={block.alternative} boot_cycle={block.cycle}"]
    if grub is not None:
        words.append(f"GRUB found {grub.cycle or 'nothing'}" + (f", try {grub.try_}" if grub.try_ else ""))
    return f" ({', '.join(words)})"
