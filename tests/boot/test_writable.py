"""A block that could not be written is told by doctor, and before an installation voids a slot; never by writing it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from manageboot.report import doctor
from support.images import MIB, make_update
from support.loop import loop_device, run
from support.node import SIZES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


@contextmanager
def mounted(node: LoopNode, *command: str | Path) -> Iterator[Path]:
    """Mount something over the directory of the block, with the block in it."""
    boot = node.grubenv.parent
    block = node.grubenv.read_bytes()
    run("mount", *command, boot)
    try:
        node.grubenv.write_bytes(block)
        yield boot
    finally:
        run("umount", boot)


@contextmanager
def mounted_read_only(node: LoopNode) -> Iterator[str]:
    with mounted(node, "-t", "tmpfs", "none") as boot:
        run("mount", "-o", "remount,ro", boot)
        yield "its file system is mounted read-only"


@contextmanager
def bound_read_only(node: LoopNode) -> Iterator[str]:
    boot = node.grubenv.parent
    run("mount", "--bind", boot, boot)
    run("mount", "-o", "remount,ro,bind", boot)
    try:
        yield "its file system is mounted read-only"
    finally:
        run("umount", boot)


@contextmanager
def bound_alone_read_only(node: LoopNode) -> Iterator[str]:
    run("mount", "--bind", node.grubenv, node.grubenv)
    run("mount", "-o", "remount,ro,bind", node.grubenv)
    try:
        yield "its file system is mounted read-only"
    finally:
        run("umount", node.grubenv)


@contextmanager
def on_a_read_only_device(node: LoopNode) -> Iterator[str]:
    disk = node.directory / "boot.img"
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    run("mke2fs", "-q", disk)
    with loop_device(disk) as device, mounted(node, device):
        run("sync")
        run("blockdev", "--setro", device)
        try:
            yield f"{device} is read-only"
        finally:
            run("blockdev", "--setrw", device)


@contextmanager
def immutable(node: LoopNode) -> Iterator[str]:
    run("chattr", "+i", node.grubenv)
    try:
        yield f"{node.grubenv} is immutable"
    finally:
        run("chattr", "-i", node.grubenv)


@contextmanager
def append_only(node: LoopNode) -> Iterator[str]:
    run("chattr", "+a", node.grubenv)
    try:
        yield f"{node.grubenv} is append-only"
    finally:
        run("chattr", "-a", node.grubenv)


@contextmanager
def empty_in_an_append_only_directory(node: LoopNode) -> Iterator[str]:
    node.grubenv.write_bytes(b"")
    run("chattr", "+a", node.grubenv.parent)
    try:
        yield f"{node.grubenv.parent} is append-only"
    finally:
        run("chattr", "-a", node.grubenv.parent)


@contextmanager
def empty_in_an_immutable_directory(node: LoopNode) -> Iterator[str]:
    node.grubenv.write_bytes(b"")
    run("chattr", "+i", node.grubenv.parent)
    try:
        yield f"{node.grubenv.parent} is immutable"
    finally:
        run("chattr", "-i", node.grubenv.parent)


Obstacle = Callable[[LoopNode], AbstractContextManager[str]]
OBSTACLES = [
    mounted_read_only,
    bound_read_only,
    bound_alone_read_only,
    on_a_read_only_device,
    immutable,
    append_only,
    empty_in_an_append_only_directory,
    empty_in_an_immutable_directory,
]


@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda one: one.__name__)
def test_a_block_that_cannot_be_written_is_told_before_anything_is_void(
    node: LoopNode, update: Path, obstacle: Obstacle
):
    node.ok("upgrade-install", update)
    before = {part: node.device_bytes("B", part) for part in SIZES}
    with obstacle(node) as cause:
        line = node.fails("upgrade-install", update, status=77, code="NOT_PERMITTED")
        assert f"cannot commit with {node.grubenv}, so nothing is installed: {cause}" in line
        # The same code word as of the commit itself, where that can know it before it writes.
        if obstacle is not on_a_read_only_device:
            node.fails("upgrade-commit", "--no-reboot", status=77, code="NOT_PERMITTED")
        assert findings(node)["BLOCK_READ_ONLY"] == f"{node.grubenv} can't be written: {cause}"
    assert {part: node.device_bytes("B", part) for part in SIZES} == before
    assert node.record("B") == "installed"
    if node.grubenv.read_bytes():
        assert "BLOCK_READ_ONLY" not in findings(node)
        node.ok("upgrade-commit", "--no-reboot")


@pytest.mark.parametrize(
    ("obstacle", "place"),
    [(mounted_read_only, "boot"), (bound_read_only, "boot"), (bound_alone_read_only, "boot/grubenv")],
)
def test_the_hint_names_what_is_mounted_read_only(node: LoopNode, update: Path, obstacle: Obstacle, place: str):
    with obstacle(node):
        done = node.run("upgrade-install", update)
        hint = done.stderr.splitlines()[-1]
        assert hint == f"hint: see mount -o remount,rw {node.directory / place}"
        # What it names helps.
        run(*hint.removeprefix("hint: see ").split())
        node.ok("upgrade-install", update)


def findings(node: LoopNode) -> dict[str, str]:
    report = json.loads(node.run("doctor", "--json").stdout)
    found = {one["code"]: one for one in report["findings"]}
    if "BLOCK_READ_ONLY" in found:
        assert found["BLOCK_READ_ONLY"]["remedy"] == doctor.REMEDIES["BLOCK_READ_ONLY"]
    return {code: one["text"] for code, one in found.items()}


def test_no_room_for_a_new_block(node: LoopNode, update: Path):
    with mounted(node, "-t", "tmpfs", "-o", "nr_inodes=3", "none") as boot:
        node.grubenv.unlink()
        (boot / "grub.cfg").write_text("")
        (boot / "filler").write_text("")
        line = node.fails("upgrade-install", update, status=73, code="CANNOT_CREATE")
        assert f"there is no room for it in {boot}" in line
        (boot / "filler").unlink()
        node.ok("upgrade-install", update)


def test_no_room_for_the_lock_of_the_block(node: LoopNode, update: Path):
    script = 'mount -t tmpfs -o nr_inodes=3 none /run && mkdir /run/grubenv && touch /run/filler && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *node.command("upgrade-install", update)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 74, done
    assert "so nothing is installed: there is no room for its lock in /run/grubenv [IO_ERROR]" in done.stderr
    assert node.record("B") is None


@pytest.mark.parametrize("content", [None, b""])
def test_a_rehearsal_writes_nothing(node: LoopNode, content: bytes | None):
    if content is not None:
        node.grubenv.write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in (node.grubenv, node.grubenv.parent)}
    node.run("doctor")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [path.name for path in node.grubenv.parent.iterdir()] == ["grubenv"]


def test_who_is_not_root_does_not_hear_of_a_fault():
    """Who may only read can't know, and says so."""
    code = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from manageboot import config; from manageboot.report import doctor; "
        "print(doctor.examine(config.load(sys.argv[1])))"
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        block = directory / "grubenv"
        block.write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
        (directory / "cmdline").write_text("dfinity.system=A\n")
        settings = f'profile = "guestos"\n[boot]\ngrubenv = "{block}"\ncmdline = "{directory}/cmdline"\n'
        # By path: what partitions this machine has is none of its business.
        settings += "".join(
            f"[slots.{slot}]\n" + "".join(f'{role} = "/dev/no-{slot}-{role}"\n' for role in ("boot", "root", "var"))
            for slot in "AB"
        )
        (directory / "c.toml").write_text(settings)
        command = [sys.executable, "-c", code, str(directory / "c.toml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "BLOCK_READ_ONLY" not in done.stdout
    assert f"whether {block} can be written: only root may, so run it as root" in done.stdout
