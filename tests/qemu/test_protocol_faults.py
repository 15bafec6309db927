"""Faults of the boot path, on one node through real firmware, GRUB and kernel: each ends in a trusted slot."""

import json
from typing import Any

import pytest

from qemu_harness.cache import Cache
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages
from qemu_harness.observation import observe

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(1800)]

BLOCK = "/boot/grub/grubenv"
BOOT_DEADLINE_S = 400.0
INSTALL_DEADLINE_S = 600.0


def commit_with(machine: VirtualMachine, fault: str) -> int:
    """Commit, do something to the node, reboot, and wait until it is up; return how often it went through GRUB."""
    before = len(machine.serial.boots())
    machine.check("manageboot upgrade-commit --no-reboot")
    machine.check(fault)
    # The answer would be lost with the node, so it goes down after it.
    machine.check("systemd-run --on-active=1 systemctl reboot")
    machine.wait_until_up(timeout_s=BOOT_DEADLINE_S)
    return len(machine.serial.boots()) - before


def install(machine: VirtualMachine) -> None:
    machine.check("manageboot upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)


def fallback(machine: VirtualMachine) -> tuple[str, dict[str, Any] | None]:
    seen = observe(machine)
    return seen.slot, seen.status["fallback"]


def found(machine: VirtualMachine) -> set[str]:
    report = json.loads(machine.run("manageboot doctor --json").stdout)
    return {finding["code"] for finding in report["findings"]}


def test_each_fault_ends_in_a_trusted_slot(cache: Cache, node_images: NodeImages) -> None:
    with VirtualMachine(cache, node_images.disk, media=node_images.media) as machine:
        machine.wait_until_up()
        machine.check("manageboot confirm")
        assert found(machine) == set()
        install(machine)

        # GRUB can read the block and not write it: the trial is not started.
        assert commit_with(machine, f"printf '\\0' >> {BLOCK}; sync") == 1
        assert fallback(machine) == ("A", {"slot": "B", "cause": "never-started"})
        assert found(machine) >= {"GRUB_CANNOT_WRITE", "FELL_BACK"}
        machine.check(f"truncate --size=1024 {BLOCK}; sync; manageboot upgrade-cancel")

        # The agent writes another block than GRUB reads: the commit stays pending.
        grubenv = f"mkdir /run/other; cp {BLOCK} /run/other/; echo > /run/other/grub.cfg"
        machine.check(f"{grubenv}; manageboot -f /run/other/grubenv upgrade-commit --no-reboot")
        machine.check("cp -r /run/other /var/; systemd-run --on-active=1 systemctl reboot")
        machine.wait_until_up(timeout_s=BOOT_DEADLINE_S)
        report = json.loads(machine.run("manageboot -f /var/other/grubenv doctor --json").stdout)
        assert "GRUB_READS_OTHER_BLOCK" in {finding["code"] for finding in report["findings"]}
        machine.check("manageboot -f /var/other/grubenv upgrade-cancel")

        # The kernel of the trial is gone: back in the same boot.
        assert commit_with(machine, "mount /dev/disk/by-partlabel/B_boot /mnt && rm /mnt/vmlinuz && umount /mnt") == 1
        assert fallback(machine) == ("A", {"slot": "B", "cause": "unloadable"})

        # Its root is no file system: the kernel panics, three times as the trial has three.
        install(machine)
        machine.check("mkdir -p /run/manageboot; printf '[boot]\\ntries = 3\\n' > /run/manageboot/manageboot.toml")
        boots = commit_with(machine, "dd if=/dev/zero of=/dev/disk/by-partlabel/B_root bs=1M count=8 conv=fsync")
        assert boots == 4
        assert fallback(machine) == ("A", {"slot": "B", "cause": "died-before-userspace"})
        assert observe(machine).variables["mb_tried"] == "3"
        machine.power_off()
