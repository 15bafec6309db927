"""The installation on loop devices full of old data: every byte, whatever way the image comes, and no memory for it."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from install.slots import assert_holds, booted_slot_hash
from support.images import MIB, make_image, make_update
from support.loop import loop_device
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
