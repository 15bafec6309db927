"""What a commit looks at: a slot that was overwritten after its installation is not armed."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.install.imagewriter import SAMPLE_WINDOWS
from support.images import MIB, make_update
from support.loop import loop_device, run
from support.node import LoopNode


@pytest.fixture
def installed(node: LoopNode, tmp_path: Path) -> LoopNode:
    """A node whose slot B holds a version with file systems that can be mounted."""
    directory = tmp_path / "update"
    make_update(directory)
    for name, size in {"boot.img": 4 * MIB, "root.img": 9 * MIB}.items():
        (directory / name).write_bytes(bytes(size))
        run("mke2fs", "-q", "-d", directory.parent / "boot", directory / name)
    node.ok("upgrade-install", directory / "boot.img", directory / "root.img")
    return node


def mount_through_a_loop_device(node: LoopNode) -> None:
    point = node.directory / "point"
    point.mkdir()
    run("mount", "-o", "loop", node.devices["B"]["root"], point)
    run("umount", point)


def mount(node: LoopNode) -> None:
    point = node.directory / "point"
    point.mkdir()
    run("mount", node.devices["B"]["root"], point)
    run("umount", point)


def write_another_image(node: LoopNode) -> None:
    image = node.directory / "another.img"
    image.write_bytes(bytes(9 * MIB))
    run("mke2fs", "-q", image)
    run("dd", "status=none", f"if={image}", f"of={node.devices['B']['root']}", "conv=fsync")


def discard(node: LoopNode) -> None:
    run("blkdiscard", "--zeroout", node.devices["B"]["root"])


def damage_the_second_boot_window(node: LoopNode) -> None:
    with open(node.devices["B"]["boot"], "r+b") as file:
        os.pwrite(file.fileno(), b"damage", 1024)


@pytest.mark.devices
@pytest.mark.parametrize(
    "overwrite",
    [mount_through_a_loop_device, mount, write_another_image, discard, damage_the_second_boot_window],
    ids=lambda one: one.__name__,
)
def test_a_slot_that_was_overwritten_is_not_armed(installed: LoopNode, overwrite: Callable[[LoopNode], None]):
    before = installed.grubenv.read_bytes()
    overwrite(installed)
    line = installed.fails("upgrade-commit", "--no-reboot", status=69, code="NOTHING_INSTALLED")
    assert "was changed since the installation, at 0" in line
    assert installed.grubenv.read_bytes() == before
    update = installed.directory / "update"
    installed.ok("upgrade-install", update / "boot.img", update / "root.img")
    installed.ok("upgrade-commit", "--no-reboot")


@pytest.mark.devices
def test_a_slot_that_was_only_read_is_armed(installed: LoopNode):
    point = installed.directory / "point"
    point.mkdir()
    for device in (installed.devices["B"][part] for part in ("boot", "root")):
        run("mount", "-o", "ro", device, point)
        run("umount", point)
    installed.ok("upgrade-commit", "--no-reboot")


@pytest.mark.devices
def test_without_samples_or_the_wish_for_them_the_record_is_believed(installed: LoopNode):
    path = installed.state / "record.json"
    stored = json.loads(path.read_text())
    assert set(stored.pop("samples")["B"]) == {"boot", "root"}
    mount(installed)
    installed.fails("upgrade-commit", "--no-reboot", status=69, code="NOTHING_INSTALLED")
    installed.write_config(install="check_sample = false")
    installed.ok("upgrade-commit", "--no-reboot")
    installed.ok("upgrade-cancel")
    installed.write_config()
    path.write_text(json.dumps(stored))
    installed.ok("upgrade-commit", "--no-reboot")


@pytest.mark.devices
def test_a_role_or_device_that_is_not_there_any_more(installed: LoopNode, tmp_path: Path):
    text = installed.config.read_text()
    small = tmp_path / "small"
    small.write_bytes(b"x" * MIB)
    with loop_device(small) as device:
        installed.config.write_text(text.replace(f'"{installed.devices["B"]["root"]}"', f'"{device}"'))
        installed.fails("upgrade-commit", "--no-reboot", status=69, code="NOTHING_INSTALLED")
    installed.config.write_text(text.replace(f'"{installed.devices["B"]["root"]}"', f'"{small}"'))
    installed.fails("upgrade-commit", "--no-reboot", status=66, code="NO_DEVICE")


@pytest.mark.parametrize("windows", [0, 1, 2, 15, 16, 17, 10_240])
def test_a_sample_is_bounded_and_has_the_first_and_the_last_window(windows: int):
    digest = ImageDigest()
    for index in range(windows):
        digest.windows[3 * index * WINDOW_BYTES] = hashlib.sha256(str(index).encode()).digest()
    sample = digest.sample(SAMPLE_WINDOWS)
    assert len(sample) == min(windows, 16)
    assert all(bytes.fromhex(found) == digest.windows[offset] for offset, found in sample.items())
    assert not windows or {0, 3 * (windows - 1) * WINDOW_BYTES} <= set(sample)


@pytest.mark.devices
def test_roles_that_others_may_write_to_are_left_out(installed: LoopNode):
    installed.write_config(install='check_sample = ["root"]')
    damage_the_second_boot_window(installed)
    installed.ok("upgrade-commit", "--no-reboot")
    installed.ok("upgrade-cancel")
    discard(installed)
    installed.fails("upgrade-commit", "--no-reboot", status=69, code="NOTHING_INSTALLED")
