"""One round of a soak: the node is on, does the next right thing and the next, until its power goes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from powercuts.powerswitch import PowerSwitch
from powercuts.soakplan import Node, Phase, Plan
from qemu_harness.machine import VirtualMachine
from qemu_harness.process import HarnessError
from qemu_harness.serial_log import GRUB_SPOKE

OTHER = {"A": "B", "B": "A"}
BOOT_LIMIT_S = 900.0
VERB_LIMIT_S = 900.0
_POLL_S = 0.005
_VERBS = {
    "commit": (Phase.COMMIT, "upgrade-commit --no-reboot"),
    "cancel": (Phase.CANCEL, "upgrade-cancel"),
    "rollback": (Phase.ROLLBACK, "rollback --no-reboot"),
    "confirm": (Phase.CONFIRM, "confirm"),
}


class PowerGone(Exception):  # noqa: N818 - named after what happened
    """The power went, as it was to."""


@dataclass
class Belief:
    """What the node has told, or was told, and what therefore has to be so."""

    trusted: str = "A"
    may_boot: str = "A"
    """The slots that may boot next."""
    runs_in: str = ""
    """The slot that the present verb runs in; empty: the node boots."""
    again: str = ""
    """The verb that is on its way."""
    installed: str = ""
    """The slot that was told to hold an image whole."""
    trial_by: str = ""
    """How the trial that is on its way was begun: commit or rollback."""


@dataclass
class Round:
    """What happened in one."""

    phase: Phase = Phase.FIRMWARE
    """In which its power went."""
    at_write: bool = False
    """At a write that was waited for."""
    boots: int = 0
    """How often the node came up."""
    verbs: list[str] = field(default_factory=list)
    """Those that it reported as done."""
    confirmed: int = 0
    """Upgrades that turned out to be confirmed."""
    wrong: list[str] = field(default_factory=list)


class Driver:
    """Lets a node live until its power goes."""

    def __init__(
        self, machine: VirtualMachine, switch: PowerSwitch, plan: Plan, belief: Belief,
        holds: Mapping[str, set[str]], updates: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Take the node.

        Args:
            machine: was just started.
            switch: takes its power.
            plan: decides.
            belief: is kept up to date.
            holds: the versions that each slot holds whole.
            updates: names on the medium, and their versions.
        """
        self._machine = machine
        self._switch = switch
        self._plan = plan
        self._belief = belief
        self._holds = {**holds}
        self._updates = updates
        self.round = Round()

    def run(self, expected: str, is_trial: bool) -> None:
        """Go on until the power goes.

        Args:
            expected: the slot that GRUB starts, by what it said of the disk.
            is_trial: whether that is a trial.

        Raises:
            PowerGone: it went.
            HarnessError: something failed while it was on.
        """
        try:
            self._live(expected, is_trial)
        except HarnessError:
            if self._switch.is_off:
                raise PowerGone from None
            raise

    def _live(self, expected: str, is_trial: bool) -> None:
        self._belief.may_boot = "AB" if is_trial else expected
        node = self._come_up(expected, is_trial)
        while True:
            node = self._do(self._plan.next_verb(node), node)

    def _do(self, verb: str, node: Node) -> Node:
        """Do the next thing, and say what the node is then."""
        belief = self._belief
        booted = belief.runs_in
        passive = OTHER[booted]
        if verb == "install":
            self._install(booted, passive)
            return Node("idle", "installed")
        if verb == "reboot":
            return self._reboot(node, booted)
        phase, words = _VERBS[verb]
        is_trial = node.state == "trial"
        if not (verb == "rollback" and is_trial):
            belief.may_boot = "AB"
        if verb in {"commit", "rollback"} and not is_trial:
            # Even if the power goes before it is reported.
            belief.trial_by = verb
        belief.again = words.split()[0]
        with self._in(phase):
            self._machine.check(f"manageboot {words}", timeout_s=VERB_LIMIT_S)
        belief.again = ""
        self.round.verbs.append(verb)
        if verb == "confirm":
            self._trust(booted)
            return Node("idle", "confirmed")
        if verb == "cancel":
            belief.may_boot, belief.trial_by = belief.trusted, ""
            return Node("idle", node.passive_record)
        if is_trial:
            # A trial that was rolled back is over; the reboot goes to the old system.
            belief.trial_by = ""
            return self._reboot(Node("idle", ""), booted)
        belief.may_boot = passive
        return Node("pending", node.passive_record)

    def _install(self, booted: str, passive: str) -> None:
        belief = self._belief
        belief.installed, belief.again, belief.may_boot = "", "upgrade-install", booted
        present = self._holds[booted]
        name = self._plan.choose([name for name, version in self._updates.items() if version not in present])
        self._holds[passive] = {self._updates[name]}
        options = "--skip-identical " if self._plan.skips_identical() else ""
        with self._in(Phase.INSTALL):
            self._machine.check(f"manageboot upgrade-install {options}/media/{name}", timeout_s=VERB_LIMIT_S)
        self.round.verbs.append("install")
        belief.installed, belief.again = passive, ""

    def _reboot(self, node: Node, booted: str) -> Node:
        """Go down and come up: in the trial that is pending, or in the old system when one was not confirmed."""
        belief = self._belief
        is_trial = node.state == "pending"
        expected = OTHER[booted] if is_trial else belief.trusted
        belief.may_boot, belief.runs_in = ("AB" if is_trial else belief.trusted), ""
        restarts, boots = self._restarts(), len(self._machine.serial.boots())
        with self._in(Phase.REBOOT):
            self._machine.check("systemd-run --on-active=1 systemctl reboot")
            self._wait(lambda: self._restarts() > restarts or len(self._machine.serial.boots()) > boots)
        self.round.verbs.append("reboot")
        return self._come_up(expected, is_trial)

    def _come_up(self, expected: str, is_trial: bool) -> Node:
        """Go through firmware, GRUB and kernel, and see what the node says of itself."""
        belief, serial = self._belief, self._machine.serial
        belief.runs_in, belief.again = "", ""
        boots = self.round.boots
        with self._in(Phase.FIRMWARE):
            self._wait(lambda: len(serial.boots()) > boots)
        with self._in(Phase.GRUB):
            self._wait(lambda: GRUB_SPOKE in serial.since_last_boot())
        with self._in(Phase.BOOT):
            self._machine.wait_until_up(BOOT_LIMIT_S)
            seen: dict[str, Any] = json.loads(self._machine.check("manageboot status --json").stdout)
        self.round.boots += 1
        booted, state = seen["booted"], seen["state"]
        if (booted, state) != (expected, "trial" if is_trial else "idle"):
            self.round.wrong.append(
                f"GRUB has started slot {expected}{', on trial,' if is_trial else ''} by what was on the disk, "
                f"and status says that slot {booted} is booted, and the state is {state}"
            )
        belief.runs_in = booted
        if state == "trial":
            belief.trusted = belief.may_boot = OTHER[booted]
        elif state == "idle":
            self._trust(booted)
        record = seen["slots"][OTHER[booted]]["record"]
        return Node(state, record["state"] if record else "")

    def _trust(self, booted: str) -> None:
        """The booted slot is the trusted one; if it was not before, its trial was confirmed."""
        belief = self._belief
        if booted != belief.trusted and belief.trial_by == "commit":
            self.round.confirmed += 1
        belief.trusted = belief.may_boot = booted
        belief.trial_by = ""

    @contextmanager
    def _in(self, phase: Phase) -> Iterator[None]:
        """Be in a phase, and let the plan say whether the power goes in it."""
        self.round.phase = phase
        instant = self._plan.draw(phase)
        if instant and instant.growth:
            self._switch.set_at_write(instant.growth)
        elif instant:
            self._switch.set(self._plan.seconds(phase, instant.share))
        begin_s = time.monotonic()
        yield
        if self._switch.is_off:
            raise PowerGone
        self._plan.lasted(phase, time.monotonic() - begin_s)

    def _restarts(self) -> int:
        return self._machine.serial.text().count("reboot: Restarting system")

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait for something that is seen from outside."""
        given_up_s = time.monotonic() + BOOT_LIMIT_S
        while not condition():
            if self._switch.is_off:
                raise PowerGone
            if time.monotonic() > given_up_s:
                raise HarnessError(f"the node did not get on:\n{self._machine.serial.tail()}")
            time.sleep(_POLL_S)
