"""Faults of the boot path, on one node through real firmware, GRUB and kernel: each ends in a trusted slot."""

import json
from typing import Any

import pytest

from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release
from qemu_harness.disk import build_disk
from qemu_harness.firmware import Firmware
from qemu_harness.machine import BOOT_DEADLINE_S, VirtualMachine
from qemu_harness.node import FACTORY_VERSION, NodeImages
from qemu_harness.observation import observe
from qemu_harness.offline import environment_sectors
from qemu_harness.slot import build_slot_images, build_system

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]

BLOCK = "/boot/grub/grubenv"
# As a commit leaves it, with two tries.
ARMED = {"boot_alternative": "B", "boot_cycle": "first_boot", "mb_nonce": "5eed", "mb_tries": "2"}
INSTALL_DEADLINE_S = 600.0


def commit_with(machine: VirtualMachine, fault: str, *, boots: int = 1) -> None:
    """Commit, do something to the node, reboot, and wait until it is up after it went through GRUB so many times."""
    before = len(machine.serial.boots())
    machine.check("manageboot upgrade-commit --no-reboot")
    machine.check(fault)
    # The answer would be lost with the node, so it goes down after it.
    machine.check("systemd-run --on-active=1 systemctl reboot")
    # To go down takes as long as a boot, at most.
    machine.wait_until_up(timeout_s=BOOT_DEADLINE_S * (boots + 1))
    assert len(machine.serial.boots()) - before == boots


def install(machine: VirtualMachine) -> None:
    machine.check("manageboot upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)


def fallback(machine: VirtualMachine) -> tuple[str, dict[str, Any] | None]:
    seen = observe(machine)
    return seen.slot, seen.status["fallback"]


def found(machine: VirtualMachine) -> set[str]:
    report = json.loads(machine.run("manageboot doctor --json").stdout)
    return {finding["code"] for finding in report["findings"]}


def next_boot(machine: VirtualMachine) -> dict[str, str]:
    """Push the reset button, and wait; return what GRUB's script said of the boot."""
    machine.reset()
    return this_boot(machine)


def this_boot(machine: VirtualMachine) -> dict[str, str]:
    """Wait until the node is up; return what GRUB's script said of the boot."""
    machine.wait_until_up()
    words = machine.check("cat /proc/cmdline").stdout.split()
    pairs = (word.removeprefix("manageboot.").split("=", 1) for word in words if word.startswith("manageboot."))
    return dict(pairs)


@pytest.mark.long
@pytest.mark.parametrize("firmware", Firmware, ids=lambda firmware: firmware.name)
def test_a_trial_waits_for_a_disk_that_grub_can_write_and_is_confirmed_at_its_second_try(
    cache: Cache, firmware: Firmware
) -> None:
    release = chosen_release()
    system = build_system(cache, release=release)
    old, new = (build_slot_images(cache, system, version) for version in (FACTORY_VERSION, "0.1.0-v2"))
    disk = build_disk(cache, old, ARMED, passive=new, firmware=firmware, release=release)
    with VirtualMachine(cache, disk, firmware=firmware, refused_sectors=environment_sectors(disk)) as machine:
        # The block is read-only for GRUB: no trial, since none could be written down.
        told = {"slot": "A", "cycle": "first_boot", "nonce": ARMED["mb_nonce"], "fault": "unwritable"}
        assert this_boot(machine) == told
        assert fallback(machine) == ("A", {"slot": "B", "cause": "never-started"})
        assert observe(machine).variables == ARMED
        assert found(machine) >= {"GRUB_CANNOT_WRITE", "FELL_BACK"}

        # From the kernel's first flush on the disk takes these writes again, so the next boot is the first try.
        trial = {"slot": "B", "nonce": ARMED["mb_nonce"]}
        assert next_boot(machine) == {**trial, "cycle": "first_boot", "try": "1"}
        assert next_boot(machine) == {**trial, "cycle": "failsafe_check", "try": "2"}
        seen = observe(machine)
        assert (seen.version, seen.status["state"], seen.status["next"]) == (new.version, "trial", "A")
        machine.check("manageboot confirm")
        assert observe(machine).variables == {
            "boot_alternative": "B", "boot_cycle": "stable", "mb_ack": ARMED["mb_nonce"],
        }  # fmt: skip
        assert found(machine) == set()
        machine.power_off()


@pytest.mark.long
def test_each_fault_ends_in_a_trusted_slot(cache: Cache, node_images: NodeImages) -> None:
    with VirtualMachine(cache, node_images.disk, media=node_images.media) as machine:
        machine.wait_until_up()
        machine.check("manageboot confirm")
        assert found(machine) == set()
        install(machine)

        # GRUB can read the block and not write it: the trial is not started.
        commit_with(machine, f"printf '\\0' >> {BLOCK}; sync")
        assert fallback(machine) == ("A", {"slot": "B", "cause": "never-started"})
        assert found(machine) >= {"GRUB_CANNOT_WRITE", "FELL_BACK"}
        machine.check(f"truncate --size=1024 {BLOCK}; sync; manageboot upgrade-cancel")

        # The agent writes another block than GRUB reads: the commit stays pending.
        grubenv = f"mkdir /run/other; cp {BLOCK} /run/other/; echo > /run/other/grub.cfg"
        machine.check(f"{grubenv}; manageboot -f /run/other/grubenv upgrade-commit --no-reboot")
        machine.check("cp -r /run/other /var/; systemd-run --on-active=1 systemctl reboot")
        machine.wait_until_up(timeout_s=BOOT_DEADLINE_S * 2)
        report = json.loads(machine.run("manageboot -f /var/other/grubenv doctor --json").stdout)
        assert "GRUB_READS_OTHER_BLOCK" in {finding["code"] for finding in report["findings"]}
        machine.check("manageboot -f /var/other/grubenv upgrade-cancel")

        # The kernel of the trial is gone: back in the same boot.
        commit_with(machine, "mount /dev/disk/by-partlabel/B_boot /mnt && rm /mnt/vmlinuz && umount /mnt")
        assert fallback(machine) == ("A", {"slot": "B", "cause": "unloadable"})

        # Its root is no file system: the kernel panics, three times as the trial has three.
        install(machine)
        machine.check("mkdir -p /run/manageboot; printf '[boot]\\ntries = 3\\n' > /run/manageboot/manageboot.toml")
        commit_with(machine, "dd if=/dev/zero of=/dev/disk/by-partlabel/B_root bs=1M count=8 conv=fsync", boots=4)
        assert fallback(machine) == ("A", {"slot": "B", "cause": "died-before-userspace"})
        assert observe(machine).variables["mb_tried"] == "3"
        machine.power_off()


# On vfat no file is sparse. On ext4 with blocks of 1 KiB this one has a hole behind its first half.
SPARSE = f"""
set -e
mount -o remount,rw / && sed -i '/PARTLABEL=grub/s/vfat/ext4/' /etc/fstab && mount -o remount,ro /
cp -r /boot/grub /run/grub && umount /boot/grub
mkfs.ext4 -q -F -b 1024 -O ^metadata_csum_seed,^orphan_file /dev/disk/by-partlabel/grub
mount -t ext4 /dev/disk/by-partlabel/grub /boot/grub
cp -r /run/grub/. /boot/grub/ && sync && truncate --size=2048 {BLOCK} && sync
"""
DAMAGED_INITRD = """
mount /dev/disk/by-partlabel/B_boot /mnt
dd if=/dev/urandom of=/mnt/initrd.img bs=1M count=1 conv=notrunc,fsync && umount /mnt
"""


@pytest.mark.long
def test_two_tries_are_used_up_and_a_sparse_block_starts_none(cache: Cache, node_images: NodeImages) -> None:
    with VirtualMachine(cache, node_images.disk, media=node_images.media) as machine:
        machine.wait_until_up()
        machine.check("manageboot confirm")
        machine.check("mkdir -p /run/manageboot; printf '[boot]\\ntries = 2\\n' > /run/manageboot/manageboot.toml")

        # GRUB loads an initrd whatever is in it: the kernel finds no root and panics, as often as there are tries.
        install(machine)
        commit_with(machine, DAMAGED_INITRD, boots=3)
        assert ["Kernel panic" in boot for boot in machine.serial.boots()[-3:]] == [True, True, False]
        assert fallback(machine) == ("A", {"slot": "B", "cause": "died-before-userspace"})
        assert observe(machine).variables["mb_tried"] == "2"

        # GRUB can't write a file with a hole in it, so there is no trial; mended, it can.
        install(machine)
        commit_with(machine, SPARSE)
        assert fallback(machine) == ("A", {"slot": "B", "cause": "never-started"})
        assert found(machine) >= {"GRUB_CANNOT_WRITE", "FELL_BACK", "BLOCK_UNSOUND"}
        machine.check(f"grubenv {BLOCK} repair; manageboot upgrade-cancel")
        assert next_boot(machine) == {"slot": "A", "cycle": "stable"}
        assert not found(machine) & {"GRUB_CANNOT_WRITE", "BLOCK_UNSOUND"}
        machine.power_off()
