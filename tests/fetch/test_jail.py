"""The jail of the child: it tries to break out, and does what it is for."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fetch import prisoner
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.jail import USER_COUNT, USER_FIRST
from manageboot.fetch.options import Options
from support import hostile
from support.hostile import CONTENT, PIECE, Hostile

pytestmark = pytest.mark.devices

_GONE_LIMIT_S = 60


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, prisoner.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tried() -> dict[str, dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = run("locked", listening.getsockname()[1])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_attempt_to_break_out_succeeds(tried):
    assert tried["broken out"].keys() == {*prisoner.HARMLESS, *prisoner.HARMFUL}
    assert set(tried["broken out"].values()) <= {"EPERM", "EACCES", "ENOENT", "EROFS"}


def test_each_harmless_attempt_would_succeed_without_the_jail(tmp_path: Path):
    done = run("free", tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout).values()) == {"done"}


def test_no_system_call_is_answered_that_is_not_on_the_list(tried):
    assert tried["answered"] == [tried["clone3"]]


def test_what_it_is_for_works(tried):
    assert set(tried["allowed"].values()) == {"done"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64 has two tables of calls")
def test_the_other_table_of_system_calls_is_closed():
    assert run("foreign", 0).returncode == -signal.SIGSYS


def test_the_child_at_work_has_nothing():
    with Hostile(hostile.stall(PIECE)) as mirror, Fetcher([mirror.url], Options()) as running:
        download = Download(running, "file", 0, len(CONTENT))
        download.take(PIECE)
        child = Path(f"/proc/{running.worker_pid}")
        status = dict(line.split(":\t", 1) for line in (child / "status").read_text().splitlines())
        users = {int(number) for key in ("Uid", "Gid") for number in status[key].split()}
        assert users <= set(range(USER_FIRST, USER_FIRST + USER_COUNT))
        assert status["Groups"].strip() == ""
        assert {int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        kinds = {os.readlink(link).partition(":")[0] for link in (child / "fd").iterdir()}
        assert kinds <= {"pipe", "socket", "anon_inode"}
        # One mount: a copy of those of the system would keep the devices of a slot busy.
        [mount] = (child / "mountinfo").read_text().splitlines()
        assert " / ro,nosuid,nodev,noexec" in mount
        files = {str(path.relative_to(child / "root")) for path in (child / "root").rglob("*")}
        assert files <= {"ca", "etc", "etc/nsswitch.conf", "etc/resolv.conf", "etc/hosts", "etc/gai.conf"}
        assert (child / "environ").read_bytes().rstrip(b"\0") == b"LC_ALL=C.UTF-8"


def test_the_child_ends_with_its_parent():
    code = (
        "import sys, time; from manageboot.fetch.fetcher import Fetcher; from manageboot.fetch.options import Options;"
        "from manageboot.fetch.download import Download;"
        "f = Fetcher([sys.argv[1]], Options()); Download(f, 'file', 0, 1000).take(10);"
        "print(f.worker_pid, flush=True); time.sleep(600)"
    )
    with (
        Hostile(hostile.stall(100)) as mirror,
        subprocess.Popen([sys.executable, "-c", code, mirror.url], stdout=subprocess.PIPE, text=True) as parent,
    ):
        assert parent.stdout is not None
        child = Path(f"/proc/{int(parent.stdout.readline())}/stat")
        parent.kill()
        ends_s = time.monotonic() + _GONE_LIMIT_S
        while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < ends_s, "it still runs"
            time.sleep(0.05)
