"""One node, two upgrades, in other forms than tests/powercuts has it. Firmware, GRUB and kernel are real."""

from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.debian import Release, chosen_release
from qemu_harness.firmware import Firmware
from qemu_harness.node import NodeImages, build_node
from support.cycle import check_two_upgrades

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]


@pytest.mark.long
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
