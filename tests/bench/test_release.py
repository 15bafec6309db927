"""Commands in the root of another release: what they see, and what is left of them."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bench.release import enter
from support.loop import run


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with a shell and next to nothing else."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    root = tmp_path / "root"
    for name in ("dev", "proc", "sys", "run", "tmp"):
        (root / name).mkdir(parents=True)
    for name in ("sh", "sleep"):
        program = shutil.which(name)
        assert program
        for file in (program, *re.findall(r"(/\S+) \(0x", run("ldd", program))):
            copy = root / file.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
    return root


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir()
    return shared


def mounts_below(path: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(path) in line]


@pytest.mark.devices
def test_a_command_sees_its_root_the_shared_folder_and_the_devices(root: Path, shared: Path):
    (shared / "in").write_text("from outside\n")
    script = (
        f'test ! -e {Path(__file__)}; test -c /dev/loop-control; read line <{shared}/in; echo "$line" >{shared}/out'
    )
    run(*enter(root, shared, "sh", "-e", "-c", script))
    assert (shared / "out").read_text() == "from outside\n"


@pytest.mark.devices
def test_a_command_leaves_nothing_in_the_root(root: Path, shared: Path):
    run(*enter(root, shared, "sh", "-e", "-c", "echo >/run/left; echo >/tmp/left; read status </proc/1/status"))
    assert [list((root / name).iterdir()) for name in ("run", "tmp", "proc", "dev")] == [[], [], [], []]
    assert mounts_below(root) == []


@pytest.mark.devices
def test_the_status_is_that_of_the_command(root: Path, shared: Path):
    assert subprocess.run(enter(root, shared, "sh", "-c", "exit 7"), check=False).returncode == 7


@pytest.mark.devices
def test_a_killed_command_leaves_neither_mounts_nor_children(root: Path, shared: Path):
    script = f"sleep 1000 & sleep 1000 & echo started >{shared}/out; echo; wait"
    with subprocess.Popen(enter(root, shared, "sh", "-c", script), stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"\n"
        assert mounts_below(root) == []
        program.send_signal(signal.SIGKILL)
        # It is at its end when all that had it open are gone.
        assert program.stdout.read() == b""
    assert mounts_below(root) == []
