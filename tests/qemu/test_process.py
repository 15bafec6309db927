"""Programs of the host that build a node: what is left of one that is killed, and what they say."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from qemu_harness.process import ALONE, HarnessError
from qemu_harness.process import run as run_program
from support.loop import loop_device, run
from support.mounts import mounted

PATIENCE_S = 30


@pytest.mark.devices
def test_a_killed_program_leaves_neither_mounts_nor_children(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mount = tmp_path / "mount"
    mount.mkdir()
    script = f"mount -t tmpfs none {mount} && echo mounted; exec sleep 1000"
    command = [*ALONE, "sh", "-c", f"{script} & wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"mounted\n"
        # Not even while it runs is it seen here.
        assert not os.path.ismount(mount)
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        program.send_signal(signal.SIGKILL)
    [first] = children
    deadline = time.monotonic() + PATIENCE_S
    # The first of its processes takes all others with it.
    while Path(f"/proc/{first}").exists() and "\nState:\tZ" not in Path(f"/proc/{first}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not os.path.ismount(mount)


@pytest.mark.devices
def test_a_program_keeps_no_file_system_of_a_test_alive(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    image, mount = tmp_path / "disk.img", tmp_path / "a mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(4 << 20)
    run("mke2fs", "-q", "-t", "ext4", image)
    with loop_device(image) as device, ExitStack() as stack:
        with mounted(device, mount):
            command = [*ALONE, "sh", "-c", "echo ready; read line"]
            program = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready\n"
        # Unmounted here, it is unmounted: the kernel lets nobody else have the device of one that is mounted.
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
        program.communicate(b"\n", timeout=PATIENCE_S)


def test_in_a_chroot_that_is_no_mount_point_it_says_what_is_wrong(tmp_path: Path):
    if os.geteuid() != 0:
        # What is looked for is that a root directory is no mount point, and only root may change its own.
        pytest.skip("chroot needs root")
    program = shutil.which("unshare")
    assert program is not None
    for file in {program, *re.findall(r"/\S+", run("ldd", program))}:
        inside = tmp_path / Path(file).relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, inside)
    words = r"cannot run chroot: / is no mount point; before chroot, mount its directory on itself \(mount --bind\)"
    with pytest.raises(HarnessError, match=words):
        run_program(["chroot", tmp_path, program, "--mount", "true"])
