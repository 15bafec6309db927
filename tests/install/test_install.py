"""The installation on loop devices full of old data: every byte, every refusal, and what is left after a failure."""

import hashlib
import json
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import grubenv
from support.images import MIB, make_image, make_update, pack
from support.loop import loop_device, run
from support.node import SIZES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


PEAK_MEMORY = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def assert_holds(node: LoopNode, directory: Path, slot: str = "B") -> None:
    """The slot holds the images, byte for byte, and var is wiped."""
    for part in ("boot", "root"):
        image = (directory / f"{part}.img").read_bytes()
        assert node.device_bytes(slot, part)[: len(image)] == image
    assert node.device_bytes(slot, "var")[: 16 * MIB] == bytes(16 * MIB)
    assert node.device_bytes(slot, "var")[16 * MIB :] != bytes(SIZES["var"] - 16 * MIB)


def booted_slot_hash(node: LoopNode) -> str:
    parts = b"".join(node.device_bytes("A", part) for part in SIZES)
    return hashlib.sha256(parts + node.grubenv.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["image.bin.zst", "image.gz", "image.xz", "image.tar"])
def test_every_archive_gives_the_same_devices(node: LoopNode, tmp_path: Path, name: str):
    archive = make_update(tmp_path / "update", name=name)
    # The orchestrator's name for it has no extension: only the content tells.
    image = archive.rename(archive.with_name("image.bin"))
    before = booted_slot_hash(node)
    node.ok("upgrade-install", image, "--sha256", hashlib.sha256(image.read_bytes()).hexdigest().upper())
    assert_holds(node, tmp_path / "update")
    assert booted_slot_hash(node) == before
    assert node.status()["slots"]["B"]["record"]["version"] == "0.2.0"


@pytest.mark.parametrize(
    "members",
    [
        ("./VERSION.TXT", "./boot.img", "./root.img"),
        ("root.img", "VERSION.TXT", "boot.img"),
        ("boot.img", "root.img"),
    ],
)
def test_members_in_any_order(node: LoopNode, tmp_path: Path, members: tuple[str, ...]):
    update = make_update(tmp_path / "update", members=members)
    node.ok("upgrade-install", update)
    assert_holds(node, tmp_path / "update")
    version = node.status()["slots"]["B"]["record"].get("version")
    assert version == ("0.2.0" if len(members) == 3 else None)


def test_standard_input(node: LoopNode, update: Path):
    with update.open("rb") as image:
        node.ok("upgrade-install", "-", stdin=image)
    assert_holds(node, update.parent)


def test_two_image_files(node: LoopNode, update: Path):
    node.ok("upgrade-install", update.with_name("boot.img"), update.with_name("root.img"))
    assert_holds(node, update.parent)


def test_a_device_with_sectors_of_4096_bytes(tmp_path: Path):
    update = make_update(tmp_path / "update", boot_size=3 * MIB + 4608)
    with LoopNode(tmp_path, sector_size=4096) as node:
        node.ok("upgrade-install", update)
        assert_holds(node, update.parent)


def test_an_image_as_large_as_its_device(node: LoopNode, tmp_path: Path):
    update = make_update(tmp_path / "update", boot_size=SIZES["boot"], root_size=SIZES["root"])
    node.ok("upgrade-install", update)
    assert_holds(node, update.parent)


def test_var_may_be_missing_from_the_configuration(node: LoopNode, update: Path):
    lines = [line for line in node.config.read_text().splitlines() if not line.startswith("var")]
    node.config.write_text("\n".join(lines))
    before = node.device_bytes("B", "var")
    node.ok("upgrade-install", update)
    assert node.device_bytes("B", "var") == before


def test_the_same_image_sparse_and_dense_has_the_same_digest(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    sparse = node.status()["slots"]["B"]["record"]
    dense = update.parent / "dense"
    dense.mkdir()
    for name in ("boot.img", "root.img"):
        (dense / name).write_bytes((update.parent / name).read_bytes())
    node.ok("upgrade-install", dense / "boot.img", dense / "root.img")
    record = node.status()["slots"]["B"]["record"]
    assert [record[part]["digest"] for part in ("boot", "root")] == [
        sparse[part]["digest"] for part in ("boot", "root")
    ]
    assert record["transaction"] != sparse["transaction"]


def test_progress_as_json_lines(node: LoopNode, update: Path):
    done = node.run("upgrade-install", update, "--progress", "json")
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    shown = [json.loads(line) for line in lines]
    assert (shown[0]["phase"], shown[0]["state"], shown[0]["bytes_done"]) == ("write", "running", 0)
    done_writing = next(line for line in shown if (line["phase"], line["state"]) == ("write", "done"))
    assert done_writing["bytes_done"] == done_writing["bytes_total"] == update.stat().st_size
    assert done_writing["bytes_verified"] > done_writing["bytes_written"] > 0 == done_writing["bytes_kept"]
    assert (shown[-1]["phase"], shown[-1]["state"]) == ("publish", "done")


def test_progress_bar_on_a_terminal(node: LoopNode, update: Path):
    # A terminal that does not know its width, as a serial console.
    command = " ".join(node.command("upgrade-install", update))
    shown = run("script", "--quiet", "--return", "--command", command, "/dev/null")
    assert "write  : 100%" in shown
    assert node.record("B") == "installed"


# What is wrong with an update image that is read to the end or refused on the way; the rest is in tests/image.
BAD_IMAGES = {
    "truncated": (65, "IMAGE_TRUNCATED"),
    "without root": (65, "IMAGE_MEMBER"),
    "root too large": (65, "IMAGE_TOO_LARGE"),
    "boot too large": (65, "IMAGE_TOO_LARGE"),
    "other digest": (65, "IMAGE_SHA256"),
    "no archive": (65, "IMAGE_FORMAT"),
    "not there": (66, "NO_INPUT"),
    "a directory": (66, "NO_INPUT"),
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


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize("style", ["bar", "json", "auto"])
def test_nobody_looking_at_the_progress_is_no_obstacle(node: LoopNode, update: Path, style: str, where: str):
    command = shlex.join(node.command("upgrade-install", update, "--progress", style))
    done = subprocess.run(["sh", "-c", f"{command} {where}"], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")


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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_leaves_a_void_slot(node: LoopNode, update: Path, number: int, status: int):
    with subprocess.Popen(
        node.command("upgrade-install", "-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        # It has begun to write when the record says so, and then waits for the rest of the image.
        started.stdin.write(update.read_bytes()[:-1000])
        started.stdin.flush()
        deadline = time.monotonic() + 30
        while node.record("B") != "installing":
            assert time.monotonic() < deadline
        started.send_signal(number)
        started.wait(timeout=30)
        assert started.returncode == status
    assert node.record("B") == "void"
    assert node.status()["running"] is None
    node.ok("upgrade-install", update)


def test_a_killed_installation_leaves_a_void_slot(node: LoopNode, update: Path):
    for wait_s in (0.15, 0.25, 0.3, 0.35, 0.4, 0.5):
        with subprocess.Popen(node.command("upgrade-install", update), stderr=subprocess.DEVNULL) as started:
            time.sleep(wait_s)
            started.kill()
        if node.record("B") == "installed":
            assert_holds(node, update.parent)
        else:
            node.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    node.ok("upgrade-install", update)
    assert_holds(node, update.parent)


@pytest.mark.parametrize(("window", "limit_mib"), [((), 100), (("--long=27",), 250)], ids=["usual", "128 MiB"])
def test_memory_is_bounded_and_nothing_is_unpacked(
    window: tuple[str, ...], limit_mib: int, node: LoopNode, tmp_path: Path
):
    """10 GiB of root image, most of it holes, and more data than there are buffers."""
    directory = tmp_path / "large"
    directory.mkdir()
    make_image(directory / "boot.img", 3 * MIB, seed=1)
    dice = random.Random(2)
    with (directory / "root.img").open("wb") as root:
        root.truncate(10 << 30)
        for offset in range(0, 10 << 30, 256 << 20):
            root.seek(offset)
            root.write(dice.randbytes(4 * MIB))
    with (directory / "image.bin").open("wb") as out:
        tar = ["tar", "-cSf", "-", "--format=gnu", "-C", str(directory), "boot.img", "root.img"]
        with subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
            subprocess.run(["zstd", "-q", "-3", *window, "-c"], stdin=packing.stdout, stdout=out, check=True)
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(10 << 30)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with loop_device(disk) as device:
        node.config.write_text(node.config.read_text().replace(f'"{node.devices["B"]["root"]}"', f'"{device}"'))
        # A small program starts it: what a process was before its exec counts as its memory too.
        command = [sys.executable, "-c", PEAK_MEMORY, *node.command("upgrade-install", directory / "image.bin")]
        environment = {**os.environ, "TMPDIR": str(temporary)}
        peak_kib = int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
        with open(device, "rb") as written, (directory / "root.img").open("rb") as root:
            for offset in range(0, 10 << 30, 256 << 20):
                written.seek(offset)
                root.seek(offset)
                assert written.read(5 * MIB) == root.read(5 * MIB)
    assert list(temporary.iterdir()) == []
    assert 20 < peak_kib / 1024 < limit_mib


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
