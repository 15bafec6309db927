"""What the daemon shows of itself: to systemd in a line, to `status` and to the next daemon in a file."""

import logging
from collections.abc import Mapping

from manageboot.config import Config
from manageboot.daemon import notify, statefile
from manageboot.daemon.health import Examination
from manageboot.daemon.memory import Memory
from manageboot.daemon.policy import Known, awaits_reboot
from manageboot.daemon.statefile import Shown
from manageboot.protocol import BootState, Phase, describe
from manageboot.system.beside import beside

logger = logging.getLogger(__name__)


class Display:
    """What is shown now."""

    def __init__(self, config: Config, shown: Shown) -> None:
        """Go on with what the last daemon of this boot showed."""
        self._directory = config.state.runtime_directory
        self._deadline_s = config.confirm.deadline_s
        self._shown = shown
        self._stored: object = None
        self._failed = False
        self._status = ""

    @property
    def devices(self) -> Mapping[str, str]:
        """What is wrong with which device, as it was shown last."""
        return self._shown.devices

    def show_devices(self, lost: Mapping[str, str]) -> None:
        """Show what is wrong with which device."""
        self._shown = self._shown._replace(devices=lost)

    def say(self, state: BootState | None, problem: str, known: Known, examination: Examination | None) -> None:
        """Put what is known into words.

        Args:
            state: what both witnesses say; None: the block says nothing.
            problem: why.
            known: what is known of the node.
            examination: the health checks, if they have begun.
        """
        words = [problem or ("" if state is None else describe(state))]
        if known.held:
            words.append("on hold")
        if examination is not None and examination.doing and known.phase is Phase.TRIAL:
            words.append(examination.doing)
        deadline = self._deadline_s if known.phase is Phase.TRIAL or known.blind else 0
        status = "; ".join(words)
        if status != self._status:
            self._status = status
            notify.status(status)
        self._shown = Shown(
            status,
            float(deadline) if deadline else None,
            self._shown.health if examination is None else examination.to_json(),
            self._shown.devices,
            awaits_reboot(known) and known.overdue_told,
        )

    def store(self, memory: Memory) -> None:
        """Write the file, if it has changed; with what is remembered in it, for the next daemon.

        Where that fails, as in a full /run, it is tried again at the next call.
        """
        if self._stored == (memory, self._shown):
            return
        stored = False
        with beside("the daemon can't be shown"):
            stored = statefile.store(self._directory, memory, self._shown)
        if stored:
            self._stored = (memory, self._shown)
            self._failed = False
        elif not self._failed:
            self._failed = True
            logger.error("cannot write %s: `status` and the next daemon are behind", statefile.path(self._directory))
