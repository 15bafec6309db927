"""The whole life of two upgrades, step by step: one is confirmed, the other falls back.

The demonstration narrates these steps and the tests assert them; each checks the node before it counts as done.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from qemu_harness.machine import VirtualMachine
from qemu_harness.observation import Observation, observe
from qemu_harness.offline import parse_environment
from qemu_harness.process import HarnessError
from qemu_harness.serial_log import GRUB_SPOKE

INSTALL_DEADLINE_S = 600.0


class StepFailed(HarnessError):  # noqa: N818 - named after what happened
    """A step of the cycle did not do what it has to."""


@dataclass(frozen=True)
class Expectation:
    """What has to be true of the node after a step."""

    boots: int
    slot: str
    version: str
    alternative: str
    cycle: str
    state: str
    record_a: str
    record_b: str

    def check(self, seen: Observation, boots: list[str]) -> None:
        """Compare with what the node shows, and with what its boots wrote to the serial console.

        Raises:
            StepFailed: something differs; the message names all of it.
        """
        block, status = seen.variables, seen.status
        pairs = {
            "boots through firmware": (self.boots, len(boots)),
            "boots through GRUB": (self.boots, sum(GRUB_SPOKE in boot for boot in boots)),
            "slot that GRUB's script named": (True, f"manageboot: slot {self.slot}," in boots[-1] if boots else None),
            "slot in /proc/cmdline": (self.slot, seen.slot),
            "partition of /": (f"{self.slot}_root", seen.root),
            "version in version.txt": (self.version, seen.version),
            "boot_alternative": (self.alternative, block.get("boot_alternative")),
            "boot_cycle": (self.cycle, block.get("boot_cycle")),
            "state of `manageboot status`": (self.state, status["state"]),
            "booted of `manageboot status`": (self.slot, status["booted"]),
            "record of slot A": (self.record_a, seen.record("A")),
            "record of slot B": (self.record_b, seen.record("B")),
        }
        wrong = [f"{name}: expected {want!r}, found {got!r}" for name, (want, got) in pairs.items() if want != got]
        if wrong:
            raise StepFailed("; ".join(wrong))


@dataclass(frozen=True)
class Step:
    """One thing that happens to the node, and what has to be true afterwards."""

    name: str
    what: str
    action: Callable[[VirtualMachine], str]
    expectation: Expectation


@dataclass(frozen=True)
class Result:
    """A step that held."""

    step: Step
    remark: str
    seconds: float
    seen: Observation


def run_cycle(
    machine: VirtualMachine, announce: Callable[[Step], None], steps: Sequence[Step] | None = None
) -> Iterator[Result]:
    """Take a machine that was just started through all steps, and yield each that held.

    Args:
        announce: called with each step before it begins.
        steps: those of another cycle than the guest's.

    Raises:
        StepFailed: a step did not hold; it is the last.
    """
    if "-kernel" in machine.command_line:
        raise StepFailed("QEMU is told to load a kernel by itself, so neither firmware nor GRUB would be tried")
    for step in STEPS if steps is None else steps:
        announce(step)
        started = time.monotonic()
        try:
            remark = step.action(machine)
            seen = observe(machine)
            step.expectation.check(seen, machine.serial.boots())
        except HarnessError as error:
            raise StepFailed(f"{step.name}: {error}") from error
        yield Result(step, remark, time.monotonic() - started, seen)


def first_boot(machine: VirtualMachine) -> str:
    """Wait for the boot that the start of the machine began."""
    machine.wait_until_up()
    return ""


def install(*images: str) -> Callable[[VirtualMachine], str]:
    """Give the step that installs an update, or two image files, from the medium."""

    def action(machine: VirtualMachine) -> str:
        paths = " ".join(f"/media/{image}" for image in images)
        done = machine.check(f"manageboot upgrade-install {paths}", timeout_s=INSTALL_DEADLINE_S)
        if done.stdout:
            raise StepFailed(f"upgrade-install wrote to standard output: {done.stdout!r}")
        return ""

    return action


def commit(machine: VirtualMachine) -> str:
    """Commit, look at the block before the node goes down, and wait until it is up again."""
    # manageboot reboots two seconds later, so both commands are one round trip.
    done = machine.check("manageboot upgrade-commit && grub-editenv /boot/grub/grubenv list")
    before = parse_environment(done.stdout).get("boot_cycle")
    if before != "first_boot":
        raise StepFailed(f"boot_cycle before the reboot: expected 'first_boot', found {before!r}")
    machine.wait_until_up()
    return _grub_wrote(machine, before)


def confirm(machine: VirtualMachine) -> str:
    """Confirm the trial."""
    machine.check("manageboot confirm")
    return ""


def reset(machine: VirtualMachine) -> str:
    """Reset the node in the middle of its trial."""
    # The service has to have seen the trial, or nobody could tell afterwards that its userspace was up.
    machine.check("until grub-editenv /boot/grub/grubenv list | grep -q mb_trial=userspace; do sleep 0.5; done")
    before = observe(machine).variables["boot_cycle"]
    machine.reset()
    machine.wait_until_up()
    return _grub_wrote(machine, before)


def _grub_wrote(machine: VirtualMachine, before: str) -> str:
    """Say what GRUB's save_env made of boot_cycle in the boot that has just ended."""
    after = parse_environment(machine.check("grub-editenv /boot/grub/grubenv list").stdout)["boot_cycle"]
    return f"GRUB's save_env: boot_cycle {before} -> {after}"


V1, V2, V3 = "0.1.0-v1", "0.1.0-v2", "0.1.0-v3"

# The records lie on var, and each slot has a var of its own, which an installation wipes: a slot on its first trial
# knows of nothing, and after a fallback the old slot's records are as they were when it committed.
STEPS = (
    Step(
        "first boot",
        "the node starts for the first time; its environment block is empty",
        first_boot,
        Expectation(1, "A", V1, "A", "stable", "idle", "-", "-"),
    ),
    Step(
        "install v2",
        "manageboot upgrade-install writes v2 into slot B, from an update-img.tar.zst",
        install("update-v2.tar.zst"),
        Expectation(1, "A", V1, "A", "stable", "idle", "-", f"installed {V2}"),
    ),
    Step(
        "commit v2",
        "manageboot upgrade-commit; the node reboots through firmware and GRUB",
        commit,
        Expectation(2, "B", V2, "B", "failsafe_check", "trial", "-", "-"),
    ),
    Step(
        "confirm v2",
        "manageboot confirm: v2 is good",
        confirm,
        Expectation(2, "B", V2, "B", "stable", "idle", "confirmed", f"confirmed {V2}"),
    ),
    Step(
        "install v3",
        "manageboot upgrade-install writes v3 into slot A",
        install("update-v3.tar.zst"),
        Expectation(2, "B", V2, "B", "stable", "idle", f"installed {V3}", f"confirmed {V2}"),
    ),
    Step(
        "commit v3",
        "manageboot upgrade-commit; the node reboots",
        commit,
        Expectation(3, "A", V3, "A", "failsafe_check", "trial", "-", "-"),
    ),
    Step(
        "reset",
        "v3 never confirms; somebody pushes the reset button",
        reset,
        Expectation(4, "B", V2, "B", "stable", "idle", f"committed {V3}", f"confirmed {V2}"),
    ),
)
