"""One node, two upgrades: the first is confirmed, the second falls back. Firmware, GRUB and kernel are real."""

import mmap
from pathlib import Path

import pytest

from manageboot.events import history
from qemu_harness.cache import Cache
from qemu_harness.cycle import STEPS, run_cycle
from qemu_harness.debian import Release, chosen_release
from qemu_harness.firmware import Firmware
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages, build_node
from qemu_harness.offline import read_environment, read_file
from support.trials import wait_for

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]


def test_two_upgrades(cache: Cache, node_images: NodeImages, tmp_path: Path) -> None:
    check_two_upgrades(cache, node_images, Firmware.UEFI, tmp_path)


@pytest.mark.long
def test_two_upgrades_through_a_bios(cache: Cache, tmp_path: Path) -> None:
    check_two_upgrades(
        cache, build_node(cache, firmware=Firmware.BIOS, release=chosen_release()), Firmware.BIOS, tmp_path
    )


@pytest.mark.long
def test_two_upgrades_of_debian_13(cache: Cache, tmp_path: Path) -> None:
    check_two_upgrades(cache, build_node(cache, release=Release.TRIXIE), Firmware.UEFI, tmp_path)


def check_two_upgrades(cache: Cache, images: NodeImages, firmware: Firmware, tmp_path: Path) -> None:
    announced: list[str] = []
    with VirtualMachine(cache, images.disk, media=images.media, firmware=firmware) as machine:
        # Every step checks the node before it is yielded; a step that does not hold raises.
        results = list(run_cycle(machine, lambda step: announced.append(step.name)))
        assert machine.check("systemctl is-system-running").stdout == "running\n"
        # The service found out what became of each trial, and why the second did not stay.
        assert results[-1].seen.status["fallback"] == {"slot": "A", "cause": "died-later"}
        wait_for(machine, "manageboot history | tail -n1 | grep -q 'fallback.*died-later'")
        machine.power_off()
        machine.export_disk(tmp_path / "disk.img")

    names = [step.name for step in STEPS]
    assert announced == names
    assert [result.step.name for result in results] == names
    assert [result.remark for result in results if result.remark] == [
        "GRUB's save_env: boot_cycle first_boot -> failsafe_check",
        "GRUB's save_env: boot_cycle first_boot -> failsafe_check",
        "GRUB's save_env: boot_cycle failsafe_check -> stable",
    ]
    # What the node said of its block is what GRUB finds on the disk.
    assert read_environment(tmp_path / "disk.img") == results[-1].seen.variables
    check_history(tmp_path / "disk.img")


def check_history(disk: Path) -> None:
    """What happened in both slots is on GRUB's own file system, where GRUB reads it, and each event in one sector."""
    content = read_file(disk, "grub", "/manageboot.log")
    found = history.parse(content)
    assert (len(content), found.damaged) == (65536, 0)
    verbs = [
        (entry.event, entry.slot) for entry in found.entries if entry.event in {"installed", "committed", "confirmed"}
    ]
    assert verbs == [("installed", "B"), ("committed", "B"), ("confirmed", "B"), ("installed", "A"), ("committed", "A")]
    assert len({entry.boot for entry in found.entries}) >= 2
    with disk.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        for entry in found.entries:
            assert raw.find(history.encode(entry)) % 512 == 0
