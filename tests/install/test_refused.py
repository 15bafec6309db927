"""What an installation refuses, and what is in the slot then: the old system, or one that can't be booted."""

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import grubenv
from install.slots import assert_holds, booted_slot_hash
from support.images import MIB, make_update, pack
from support.loop import run
from support.node import SIZES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


# What is wrong with an update image that is read to the end or refused on the way; the rest is in tests/image.
BAD_IMAGES = {
    "truncated": (65, "IMAGE_TRUNCATED"),
    "without root": (65, "IMAGE_MEMBER"),
    "root too large": (65, "IMAGE_TOO_LARGE"),
    "boot too large": (65, "IMAGE_TOO_LARGE"),
    "other digest": (65, "IMAGE_SHA256"),
    "no archive": (65, "IMAGE_FORMAT"),
    "not there": (66, "NO_INPUT"),
    "a directory": (69, "UNSIGNED"),
    "empty": (65, "IMAGE_TRUNCATED"),
}


def bad_image(directory: Path, kind: str) -> list[str]:
    match kind:
        case "without root":
            return [str(make_update(directory, members=("boot.img", "VERSION.TXT")))]
        case "root too large":
            return [str(make_update(directory, root_size=SIZES["root"] + 512))]
        case "boot too large":
            return [str(make_update(directory, boot_size=SIZES["boot"] + 512))]
    image = make_update(directory)
    match kind:
        case "truncated":
            os.truncate(image, image.stat().st_size - 1)
        case "other digest":
            return [str(image), "--sha256", "0" * 64]
        case "no archive":
            image.write_text("#!/bin/sh\n" * 1000)
        case "not there":
            image.unlink()
        case "a directory":
            return [str(directory)]
        case "empty":
            image.write_bytes(b"")
    return [str(image)]


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_input(node: LoopNode, tmp_path: Path, kind: str):
    arguments = bad_image(tmp_path / "update", kind)
    before = booted_slot_hash(node)
    status, code = BAD_IMAGES[kind]
    node.fails("upgrade-install", *arguments, status=status, code=code)
    assert booted_slot_hash(node) == before
    assert node.status()["state"] == "idle"
    node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    # And it does not stand in the way of the next one.
    good = make_update(tmp_path / "good")
    node.ok("upgrade-install", good)
    assert_holds(node, good.parent)


def test_an_image_that_cannot_fit_does_not_undo_an_installation(node: LoopNode, update: Path, tmp_path: Path):
    node.ok("upgrade-install", update)
    large = make_update(tmp_path / "large", root_size=SIZES["root"] + 512)
    images = [large.with_name("boot.img"), large.with_name("root.img")]
    node.fails("upgrade-install", *images, status=65, code="IMAGE_TOO_LARGE")
    assert node.record("B") == "installed"
    assert_holds(node, update.parent)


def test_a_name_that_is_no_text_hides_no_error(node: LoopNode, update: Path):
    odd = os.fsencode(update.parent) + b"/\xff.tar"
    os.rename(update, odd)
    os.truncate(odd, os.stat(odd).st_size - 1)
    command = [os.fsencode(word) for word in node.command("upgrade-install")]
    done = subprocess.run([*command, odd], check=False, capture_output=True, timeout=60)
    assert done.returncode == 65
    assert b"[IMAGE_TRUNCATED]" in done.stderr
    assert node.ok("status")


@pytest.mark.parametrize("kind", ["no archive", "not there", "empty"])
def test_an_image_that_is_none_does_not_undo_an_installation(node: LoopNode, update: Path, tmp_path: Path, kind: str):
    node.ok("upgrade-install", update)
    status, code = BAD_IMAGES[kind]
    node.fails("upgrade-install", *bad_image(tmp_path / "bad", kind), status=status, code=code)
    assert node.record("B") == "installed"
    assert_holds(node, update.parent)


def test_a_failed_installation_leaves_an_unbootable_slot_and_its_cause(node: LoopNode, update: Path, tmp_path: Path):
    node.ok("upgrade-install", update)
    node.fails("upgrade-install", *bad_image(tmp_path / "bad", "other digest"), status=65, code="IMAGE_SHA256")
    assert node.device_bytes("B", "boot")[: 64 << 10] == bytes(64 << 10)
    entry = node.status()["slots"]["B"]["record"]
    assert entry["state"] == "void"
    assert "expected sha256 0000" in entry["failure"]


@pytest.mark.parametrize("zeros", [1, 128 << 10, MIB, 2 * MIB])
def test_an_image_that_begins_with_zeros_is_never_called_installed(node: LoopNode, tmp_path: Path, zeros: int):
    # A commit would refuse it: so begins what an interrupted installation leaves.
    for name, content in {"boot.img": bytes(zeros) + b"data" * (zeros > 1), "root.img": b"root"}.items():
        (tmp_path / name).write_bytes(content)
    line = node.fails("upgrade-install", pack(tmp_path, "boot.img", "root.img"), status=65, code="IMAGE_MEMBER")
    assert f"boot.img: it begins with {min(zeros, 128 << 10)} bytes of zeros" in line
    assert node.record("B") is None


@pytest.mark.parametrize("part", ["boot", "root", "var"])
def test_a_mounted_device_is_refused(node: LoopNode, update: Path, tmp_path: Path, part: str):
    device = node.devices["B"][part]
    run("mke2fs", "-q", device)
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    run("mount", device, mountpoint)
    try:
        line = node.fails("upgrade-install", update, status=69, code="DEVICE_BUSY")
    finally:
        run("umount", mountpoint)
    assert f"cannot use {device}: it is mounted at {mountpoint}" in line
    assert node.record("B") is None


def test_a_device_of_the_booted_slot_is_refused(node: LoopNode, update: Path, tmp_path: Path):
    link = tmp_path / "link-to-a-booted-device"
    link.symlink_to(node.devices["A"]["root"])
    node.config.write_text(node.config.read_text().replace(f'"{node.devices["B"]["root"]}"', f'"{link}"'))
    before = booted_slot_hash(node)
    node.fails("upgrade-install", update, status=69, code="DEVICE_BUSY")
    assert booted_slot_hash(node) == before


@pytest.mark.parametrize("path", ["/dev/there-is-no-such-device", "/dev/null"])
def test_a_device_that_is_none_is_refused(node: LoopNode, update: Path, path: str):
    node.config.write_text(node.config.read_text().replace(f'"{node.devices["B"]["boot"]}"', f'"{path}"'))
    node.fails("upgrade-install", update, status=66, code="NO_DEVICE")


def test_a_full_state_directory_is_refused_before_anything_is_written(node: LoopNode, update: Path):
    node.state.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=2", "tmpfs", node.state)
    try:
        (node.state / "filler").write_bytes(b"x" * 4096)
        before = node.device_bytes("B", "boot")
        node.fails("upgrade-install", update, status=73, code="CANNOT_CREATE")
        assert node.device_bytes("B", "boot") == before
    finally:
        run("umount", node.state)


def test_without_memory_for_the_buffers_the_slot_stays_what_it_was(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    head = node.device_bytes("B", "boot")
    limit = 72 * MIB  # Python and its modules take about 40, and the buffers 50
    done = node.run(
        "upgrade-install", update, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    )
    assert (done.returncode, "[NO_RESOURCES]" in done.stderr) == (74, True), done
    assert node.record("B") == "installed"
    assert node.device_bytes("B", "boot") == head


def fill(node: LoopNode, left: int) -> None:
    """Make a block of one sector in which so many bytes are free."""
    node.grubenv.write_bytes(b"# GRUB Environment Block\nboot_alternative=A\nboot_cycle=stable\n".ljust(512, b"#"))
    used = grubenv.update(node.grubenv, {"foreign": ""}).used
    grubenv.update(node.grubenv, {"foreign": "x" * (512 - used - left)})


def fill_but_for_the_commit(node: LoopNode) -> None:
    """What GRUB writes when it starts the trial does not fit any more."""
    fill(node, len("failsafe_check") - len("stable") - 1)


def crowd_the_first_sector(node: LoopNode) -> None:
    """Put our names behind a variable of somebody's that fills the first sector; nothing can be moved either."""
    lines = f"foreign={'x' * 470}\nboot_alternative=A\nboot_cycle=stable\nother={'y' * 455}\n"
    node.grubenv.write_bytes(f"# GRUB Environment Block\n{lines}".encode().ljust(1024, b"#"))


@pytest.mark.parametrize(
    ("crowd", "code"), [(fill_but_for_the_commit, "NO_ROOM"), (crowd_the_first_sector, "NOT_ATOMIC")]
)
def test_a_block_without_room_for_a_commit_is_told_before_anything_is_void(
    node: LoopNode, update: Path, crowd: Callable[[LoopNode], None], code: str
):
    crowd(node)
    before = [node.device_bytes("B", part) for part in SIZES], node.grubenv.read_bytes()
    said = node.fails("upgrade-install", update, status=73, code=code)
    assert f"cannot commit with {node.grubenv}, so nothing is installed: " in said
    assert ([node.device_bytes("B", part) for part in SIZES], node.grubenv.read_bytes()) == before
    assert node.record("B") is None


def test_a_block_with_just_enough_room_takes_an_installation_a_commit_and_a_trial(node: LoopNode, update: Path):
    fill(node, len("failsafe_check") - len("stable"))
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    assert node.boot() == "B"
    assert len(node.grubenv.read_bytes()) == 512
