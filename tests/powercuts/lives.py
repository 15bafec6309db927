"""What happens to the nodes whose lives are recorded."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from powercuts.recording import Life, Step
from qemu_harness.cache import Cache
from qemu_harness.cycle import INSTALL_DEADLINE_S
from qemu_harness.debian import Release
from qemu_harness.layout import GROUP, GUESTOS, HOSTOS
from qemu_harness.loader import SHIPPED, GrubPartition
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import FACTORY_VERSION, UPDATES, build_host, build_node
from qemu_harness.slot import build_slot_images, build_system
from support.grubemu import STOCK
from support.trials import arm, configuration, lay_into, wait_for, wait_for_boot

V2, V3 = UPDATES.values()
EVENTS_WRITTEN = 140
"""More than the history has room for."""

_BLOCK = "/boot/grub/grubenv"
# Its beginning is lost, so GRUB takes it for none; what it says can still be read.
_DAMAGE = f"dd if=/dev/zero of={_BLOCK} bs=1 count=16 conv=notrunc,fsync status=none"
_WRITE_EVENTS = f"""
from manageboot import config
from manageboot.events import history
settings = config.load(profile="PROFILE")
for number in range({EVENTS_WRITTEN}):
    history.append(settings, history.Entry("2026-01-01T00:00:00+00:00", "confirmed", "B", f"event {{number}}"))
"""


def do(*lines: str, timeout_s: float = INSTALL_DEADLINE_S) -> Callable[[VirtualMachine], None]:
    """Give the action that runs lines of the shell on the node, which have to succeed."""

    def action(machine: VirtualMachine) -> None:
        for line in lines:
            machine.check(line, timeout_s=timeout_s)

    return action


def install(*images: str, options: str = "") -> Callable[[VirtualMachine], None]:
    """Give the action that installs an update, or two images, from the medium."""
    words = " ".join([options, *(shlex.quote(f"/media/{image}") for image in images)])
    return do(f"manageboot upgrade-install {words}", timeout_s=INSTALL_DEADLINE_S)


def reboot(condition: str) -> Callable[[VirtualMachine], None]:
    """Give the action that reboots the node, and waits for something that is so only in the new boot."""

    def action(machine: VirtualMachine) -> None:
        machine.check("systemd-run --on-active=1 systemctl reboot")
        machine.wait_until_up()
        wait_for(machine, condition)

    return action


def reset(condition: str) -> Callable[[VirtualMachine], None]:
    """Give the action that resets the node, and waits for something that is so only in the new boot."""

    def action(machine: VirtualMachine) -> None:
        machine.reset()
        machine.wait_until_up()
        wait_for(machine, condition)

    return action


def aborted(machine: VirtualMachine) -> None:
    """Start a trial that the daemon aborts, and wait for the old system."""
    # Through firmware twice; nothing is asked of the trial, which may go down at any time.
    target = len(machine.serial.boots()) + 2
    machine.check("systemd-run --on-active=1 systemctl reboot")
    wait_for_boot(machine, target)
    wait_for(machine, FELL_BACK)


def lay_bad_check(profile: str) -> Callable[[VirtualMachine], None]:
    """Give the action that lets the system in slot A fail its health check."""
    files = {
        "manageboot/manageboot.toml": configuration(profile=profile),
        "manageboot/health.d/required/10-bad": "#!/bin/sh\nexit 1\n",
    }
    parts = f"/dev/{GROUP}" if profile == HOSTOS.system else "/dev/disk/by-partlabel"

    def action(machine: VirtualMachine) -> None:
        lay_into(machine, "A", files, parts=parts)

    return action


ARRIVED = "manageboot history | tail -n1 | grep -q trial_started"
FELL_BACK = "manageboot history | tail -n1 | grep -q fallback"
CONFIRMED = "manageboot history | grep -q confirmed"


def upgrades(images: dict[str, list[str]], profile: str) -> list[Step]:
    """The life of two upgrades: the first is confirmed, the second falls back, and is then given up by the daemon.

    Args:
        images: by version, the names on the medium.
        profile: guestos or hostos. There the start of a guest confirms, and the verb has nothing left to do.
    """
    by_guest = profile == HOSTOS.system
    trial = [
        Step("trial of v2", "the node reboots; GRUB writes that the trial has begun; v2 is up and says so",
             reboot(CONFIRMED if by_guest else ARRIVED), "AB", "B" if by_guest else "A"),
    ]  # fmt: skip
    if not by_guest:
        trial.append(Step("confirm", "manageboot confirm", do("manageboot confirm"), "AB", "B", "B", "confirm"))
    commit = do("manageboot upgrade-commit --no-reboot")
    again = install(*images[V3], options="--skip-identical")
    return [
        Step("first boot", "the node starts for the first time", up, "A", "A"),
        Step("install v2", "manageboot upgrade-install writes v2 into slot B", install(*images[V2]), "A", "A", "A",
             "upgrade-install", installs="B"),
        Step("commit v2", "manageboot upgrade-commit: slot B boots next, on trial", commit, "AB", "B", "A",
             "upgrade-commit"),
        *trial,
        Step("rollback", "manageboot rollback: slot A boots next, on trial",
             do("manageboot rollback --no-reboot"), "AB", "A", "B", "rollback"),
        Step("cancel", "manageboot upgrade-cancel: it does not", do("manageboot upgrade-cancel"), "AB", "B", "B",
             "upgrade-cancel"),
        Step("install v3", "manageboot upgrade-install writes v3 into slot A", install(*images[V3]), "B", "B", "B",
             "upgrade-install", installs="A"),
        *([_break_guest()] if by_guest else []),
        Step("commit v3", "manageboot upgrade-commit: slot A boots next, on trial", commit, "AB", "A", "B",
             "upgrade-commit"),
        Step("trial of v3", "the node reboots into v3, which does not confirm", reboot(ARRIVED), "AB", "B"),
        Step("reset", "the node is reset; GRUB goes back to v2", reset(FELL_BACK), "B", "B"),
        Step("install again", "manageboot upgrade-install --skip-identical writes v3 into slot A once more",
             again, "B", "B", "B", "upgrade-install", installs="A"),
        Step("bad check", "somebody lays a health check into slot A that fails", lay_bad_check(profile), "B", "B", "B",
             meddles="A"),
        Step("commit again", "slot A boots next, on trial", _arm, "AB", "A", "B"),
        Step("abort", "the check fails, and the daemon goes back to v2", aborted, "AB", "B"),
    ]  # fmt: skip


def housekeeping(profile: str) -> list[Step]:
    """What happens to what GRUB reads, in a system that is trusted."""
    program = _WRITE_EVENTS.replace("PROFILE", profile)
    return [
        Step("damage", "a sector of the block is overwritten", do(_DAMAGE), "B", "B", "B", meddles="block"),
        Step("repair", "grubenv repair", do(f"grubenv {_BLOCK} repair"), "B", "B", "B", "repair", meddles="block"),
        Step("new grub.cfg", "manageboot bootloader install, over one that was changed",
             do("echo '# changed' >>/boot/grub/grub.cfg && sync", "manageboot bootloader install"), "B", "B", "B"),
        Step("history", "the ring of the history is full and goes round", do(f"python3 -c {shlex.quote(program)}"),
             "B", "B", "B"),
    ]  # fmt: skip


def up(machine: VirtualMachine) -> None:
    """Wait until the node is up."""
    machine.wait_until_up()


def _arm(machine: VirtualMachine) -> None:
    arm(machine, "upgrade-commit")


def _break_guest() -> Step:
    return Step("the guest breaks", "the host's guest will not start again",
                do("touch /boot/grub/guest-is-broken && sync"), "B", "B", "B")  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A node of which a life is recorded."""

    name: str
    title: str
    release: Release = Release.BOOKWORM
    grub_partition: GrubPartition = SHIPPED
    is_host: bool = False

    @property
    def is_stock(self) -> bool:
        """Whether its script is not manageboot's: a damaged block boots slot A then."""
        return self.grub_partition.script != SHIPPED.script


KINDS = {
    kind.name: kind
    for kind in (
        Kind("guest", "guestOS, GRUB 2.06, block on vfat"),
        Kind("ext4", "guestOS, GRUB 2.06, block on ext4", grub_partition=GrubPartition(kind="ext4")),
        Kind("stock", "guestOS, GRUB 2.06, stock-like grub.cfg", grub_partition=GrubPartition(STOCK)),
        Kind("host", "hostOS on LVM, GRUB 2.06", is_host=True),
        Kind("trixie", "guestOS of Debian 13, GRUB 2.12", Release.TRIXIE),
        Kind("trixie-ext4", "guestOS of Debian 13, GRUB 2.12, block on ext4", Release.TRIXIE,
             GrubPartition(kind="ext4")),
        Kind("trixie-host", "hostOS of Debian 13 on LVM, GRUB 2.12", Release.TRIXIE, is_host=True),
    )
}  # fmt: skip


def life_of(cache: Cache, kind: Kind) -> Life:
    """Build a node, and say what will happen to it."""
    plan = HOSTOS if kind.is_host else GUESTOS
    if kind.is_host:
        built = build_host(cache, kind.release)
        names = {version: [f"{version}-boot.img", f"{version}-root.img"] for version in UPDATES.values()}
    else:
        built = build_node(cache, release=kind.release, grub_partition=kind.grub_partition)
        names = {version: [name] for name, version in UPDATES.items()}
    system = build_system(cache, release=kind.release)
    versions = {}
    for version in (FACTORY_VERSION, V2, V3):
        images = build_slot_images(cache, system, version, plan)
        versions[version] = {"boot": images.boot, "root": images.root}
    steps: Sequence[Step] = upgrades(names, plan.system)
    kept = [step for step in housekeeping(plan.system) if not (kind.is_stock and step.name != "history")]
    return Life(
        kind.name, kind.title, plan.system, built.disk, built.media, versions, [*steps, *kept], kind.release.value
    )
