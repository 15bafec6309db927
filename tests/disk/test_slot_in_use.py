"""No slot is written while somebody else has one of its devices; and nobody is taken for such a user who is none."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from support import faultydisk
from support.images import MIB, make_update
from support.loop import loop_device, run
from support.node import LoopNode
from support.partition import partition
from support.served import unmount

pytestmark = pytest.mark.devices

Use = Callable[[LoopNode], AbstractContextManager[str]]
"""Something that has a device of slot B for a while; it gives what has to be said of it."""


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


@contextmanager
def mounted(source: str | Path, *options: str) -> Iterator[Path]:
    point = Path(f"{run('mktemp', '-d')}")
    # While a slow test looks on, the kernel is to write neither what is left to be made of the file system, nor, since
    # that is on the disk now, that it is mounted.
    run("mount", "-o", "noinit_itable", *options, source, point)
    try:
        run("sync", "--file-system", point)
        yield point
    finally:
        unmount(point)
        point.rmdir()


@contextmanager
def through_a_loop_device(node: LoopNode) -> Iterator[str]:
    run("mke2fs", "-q", node.devices["B"]["root"])
    with mounted(node.devices["B"]["root"], "-o", "loop") as point:
        yield f"is attached to it, and mounted at {point}"


@contextmanager
def through_its_own_file(node: LoopNode) -> Iterator[str]:
    run("mke2fs", "-q", node.devices["B"]["boot"])
    # Left to itself, mount takes the loop device that is there.
    # Read-only, since what the kernel itself writes through it would be seen through the other one sooner or later.
    with loop_device(node.directory / "B_boot") as other, mounted(other, "-r") as point:
        yield f"is attached to {node.directory}/B_boot, below it, and mounted at {point}"


@contextmanager
def through_another_name(node: LoopNode) -> Iterator[str]:
    other = node.directory / "other-name"
    os.mknod(other, 0o600 | 0o060000, os.stat(node.devices["B"]["root"]).st_rdev)
    with loop_device(other):
        yield "is attached to it"


@contextmanager
def a_part_at_its_end(node: LoopNode) -> Iterator[str]:
    with loop_device(node.directory / "B_var", offset=16 * MIB, size=MIB):
        yield f"is attached to {node.directory}/B_var, below it"


@contextmanager
def in_another_mount_namespace(node: LoopNode) -> Iterator[str]:
    device = node.devices["B"]["boot"]
    run("mke2fs", "-q", device)
    # Read-only: a mount for writing changes the superblock, now or when the kernel has time for it.
    script = 'mount -o ro "$0" /mnt && echo mounted && read line'
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, device]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "mounted\n"
        try:
            yield "it is mounted at /mnt"
        finally:
            process.stdin.close()


@contextmanager
def open_elsewhere(path: str | Path, mode: str, program: str | Path = sys.executable) -> Iterator[int]:
    code = f"import sys; file = open({str(path)!r}, {mode!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([program, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        try:
            yield process.pid
        finally:
            process.stdin.close()


@contextmanager
def open_for_writing(node: LoopNode) -> Iterator[str]:
    with open_elsewhere(node.devices["B"]["var"], "r+b") as pid:
        yield f"process {pid} ({name_of(pid)}) has it open for writing"


@contextmanager
def its_file_open_for_writing(node: LoopNode) -> Iterator[str]:
    with open_elsewhere(node.directory / "B_var", "r+b") as pid:
        yield f"process {pid} ({name_of(pid)}) has {node.directory}/B_var, below it open for writing"


def name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@contextmanager
def swap(node: LoopNode) -> Iterator[str]:
    device = node.devices["B"]["var"]
    run("mkswap", device)
    run("swapon", device)
    try:
        yield "it is swap space"
    finally:
        run("swapoff", device)


@pytest.mark.parametrize(
    "use",
    [
        through_a_loop_device,
        through_its_own_file,
        through_another_name,
        a_part_at_its_end,
        in_another_mount_namespace,
        open_for_writing,
        its_file_open_for_writing,
        swap,
    ],
    ids=lambda use: use.__name__,
)
def test_a_slot_in_use_is_refused_before_anything_is_written(node: LoopNode, update: Path, use: Use):
    with use(node) as said:
        before = [node.device_bytes("B", part) for part in ("boot", "root")]
        assert said in node.fails("upgrade-install", update, status=69, code="DEVICE_BUSY")
        assert [node.device_bytes("B", part) for part in ("boot", "root")] == before
    assert node.record("B") is None
    node.ok("upgrade-install", update)


@contextmanager
def read_elsewhere(node: LoopNode) -> Iterator[None]:
    """As udev looks at each device, and a backup reads a whole disk."""
    with open_elsewhere(node.devices["B"]["root"], "rb"), open_elsewhere(node.directory / "B_root", "rb"):
        yield


@contextmanager
def locked_by_udev(node: LoopNode) -> Iterator[None]:
    descriptor = os.open(node.devices["B"]["root"], os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def booted_slot_in_use(node: LoopNode) -> Iterator[None]:
    run("mke2fs", "-q", node.devices["A"]["var"])
    with (
        mounted(node.devices["A"]["var"]),
        open_elsewhere(node.devices["A"]["root"], "r+b"),
        loop_device(Path(node.devices["A"]["boot"])),
    ):
        yield


@contextmanager
def gone_in_a_moment(node: LoopNode) -> Iterator[None]:
    code = f"import time; file = open({node.devices['B']['root']!r}, 'r+b'); print(flush=True); time.sleep(0.3)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield


@pytest.mark.parametrize(
    "use", [read_elsewhere, locked_by_udev, booted_slot_in_use, gone_in_a_moment], ids=lambda use: use.__name__
)
def test_nobody_else_counts_as_a_user(
    node: LoopNode, update: Path, use: Callable[[LoopNode], AbstractContextManager[None]]
):
    with use(node):
        node.ok("upgrade-install", update)


@pytest.fixture
def one_disk(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A disk of 8 MiB, and a slot's device that is 1 MiB of it."""
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    with loop_device(disk, offset=2 * MIB, size=MIB) as device:
        yield disk, device


@pytest.mark.parametrize(
    ("offset", "size", "used"),
    [
        (0, 2 * MIB, False),
        (3 * MIB, MIB, False),
        (3 * MIB, 5 * MIB, False),
        (0, 2 * MIB + 512, True),
        (3 * MIB - 512, MIB, True),
        (2 * MIB + 512, 512, True),
        (0, 0, True),
    ],
)
def test_only_what_overlaps_counts(one_disk: tuple[Path, str], offset: int, size: int, used: bool):
    disk, device = one_disk
    with loop_device(disk, offset=offset, size=size):
        assert is_used(device) is used


def test_a_loop_device_whose_file_system_has_gone_is_of_no_concern(one_disk: tuple[Path, str], tmp_path: Path):
    """It can't be asked what it is attached to; but what was asked a moment before, as the slot was, is not it."""
    _, device = one_disk
    disks, point = tmp_path / "disks", tmp_path / "point"
    for path in (disks, point):
        path.mkdir()
    (disks / "disk").write_bytes(bytes(MIB))
    with subprocess.Popen([sys.executable, faultydisk.__file__, point, disks]) as server:
        while not os.path.ismount(point):
            assert server.poll() is None
        try:
            with loop_device(point / "disk") as other:
                server.kill()
                server.wait()
                while is_there(point / "disk"):
                    pass  # for a second the kernel goes by what it heard last
                assert not is_used(device)
                assert is_used(other)
        finally:
            unmount(point)


def test_a_loop_device_over_the_other_partition_of_a_disk_does_not_count(tmp_path: Path):
    """Two partitions that the kernel knows; nodes of our own, since udev need not be there to make them."""
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    with (
        loop_device(disk) as whole,
        partition(whole, 1, tmp_path / "one", start=MIB, size=2 * MIB) as one,
        partition(whole, 2, tmp_path / "two", start=4 * MIB, size=2 * MIB) as two,
    ):
        with loop_device(one):
            assert is_used(one)
            assert not is_used(two)
        with loop_device(Path(whole), offset=4 * MIB, size=MIB):
            assert not is_used(one)
            assert is_used(two)
        with open_elsewhere(whole, "r+b"):
            assert is_used(one)
        with open_elsewhere(whole, "rb"), open_elsewhere(one, "r+b"):
            assert not is_used(two)


def test_the_monitor_of_a_raid_is_no_user_of_what_lies_on_its_disks(tmp_path: Path):
    """mdmon has the disks below open all the time; but not the slot itself, and no other program has them."""
    monitor = tmp_path / "mdmon"
    monitor.symlink_to(sys.executable)
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(8 * MIB)
    with loop_device(disk) as whole, partition(whole, 1, tmp_path / "part", start=MIB, size=2 * MIB) as part:
        with open_elsewhere(whole, "r+b", program=monitor) as pid:
            assert name_of(pid) == "mdmon"
            assert not is_used(part)
            assert is_used(whole)
        with open_elsewhere(part, "r+b", program=monitor):
            assert is_used(part)
        with open_elsewhere(whole, "r+b"):
            assert is_used(part)


def is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def is_used(device: str | Path) -> bool:
    """Ask in a process of its own, as a run does: this one has nothing open."""
    code = (
        "import sys; from manageboot import errors; from manageboot.disk import diskusers\n"
        "try: diskusers.require_unused([sys.argv[1]])\n"
        "except errors.DeviceBusyError as error: sys.exit(str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code, device], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or done.stderr.startswith(f"cannot use {device}: "), done
    return done.returncode != 0


@pytest.mark.parametrize("spare", range(5))
def test_who_has_no_descriptor_to_look_with_calls_nothing_unused(one_disk: tuple[Path, str], spare: int):
    _, device = one_disk
    code = (
        "import os, resource, sys; from manageboot import errors; from manageboot.disk import diskusers\n"
        "free = os.dup(0); os.close(free)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (free + int(sys.argv[2]),) * 2)\n"
        "try: diskusers.require_unused([sys.argv[1]])\n"
        "except errors.ManagebootError as error: print(error.code)\n"
        "else: print('unused')"
    )
    look = [sys.executable, "-c", code, device, str(spare)]
    unused = run(*look)
    assert unused in {"unused", "NO_RESOURCES"}
    with loop_device(Path(device)):
        assert run(*look) == ("NO_RESOURCES" if unused == "NO_RESOURCES" else "DEVICE_BUSY")
    with open_elsewhere(device, "r+b"):
        assert run(*look) == ("NO_RESOURCES" if unused == "NO_RESOURCES" else "DEVICE_BUSY")


@pytest.mark.parametrize("hidden", ["/proc", "/sys"])
def test_what_cannot_be_looked_at_is_not_called_unused(one_disk: tuple[Path, str], hidden: str):
    _, device = one_disk
    code = (
        "import sys; from manageboot import errors; from manageboot.disk import diskusers\n"
        "try: diskusers.require_unused([sys.argv[1]])\n"
        "except errors.DeviceBusyError as error: print(error)"
    )
    script = 'mount -t tmpfs none "$0" && exec "$@"'
    said = run("unshare", "--mount", "sh", "-c", script, hidden, sys.executable, "-c", code, device)
    assert said.startswith(f"cannot use {device}: who uses it can't be told: {hidden}"), said
