"""What a caller leaves to the process: it changes nothing, or is an error with a word of its own."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.daemon import notify
from manageboot.system import inherited
from support.daemonnode import DaemonNode, running

pytestmark = pytest.mark.grub


@pytest.fixture
def trial(tmp_path: Path) -> DaemonNode:
    node = DaemonNode(tmp_path)
    node.start_trial()
    return node


def run(node: DaemonNode, *arguments: str, before: Callable[[], None]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "manageboot", "-c", str(node.config), *arguments]
    return subprocess.run(command, preexec_fn=before, check=False, capture_output=True, text=True, timeout=50)


def ignore_children() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())


def limit(which: int, soft: int, hard: int | None = None) -> Callable[[], None]:
    return lambda: resource.setrlimit(which, (soft, resource.getrlimit(which)[1] if hard is None else hard))


def hide() -> None:
    os.umask(0o777)


def lose_directory() -> None:
    directory = f"/tmp/manageboot-{os.getpid()}"
    os.mkdir(directory)
    os.chdir(directory)
    os.rmdir(directory)


STATES = {
    "children ignored": ignore_children,
    "signals blocked": block_signals,
    "umask": hide,
    "no directory": lose_directory,
    "size of files": limit(resource.RLIMIT_FSIZE, 0),
    "few files": limit(resource.RLIMIT_NOFILE, 8),
}


@pytest.mark.parametrize("state", STATES)
def test_a_verb_does_its_work(trial: DaemonNode, state: str):
    began = time.monotonic()
    done = run(trial, "rollback", before=STATES[state])
    assert (done.returncode, done.stderr) == (0, "manageboot: slot A boots next, the node reboots\n")
    assert (trial.block()["mb_trial"], trial.reboot_count(), trial.events()) == ("by_hand", 1, ["rolled_back"])
    assert time.monotonic() - began < 30
    assert stat.S_IMODE((trial.run_directory / "given-up").stat().st_mode) == 0o644
    assert stat.S_IMODE(trial.run_directory.stat().st_mode) == 0o755


@pytest.mark.parametrize("state", STATES)
def test_the_daemon_does_its_work(trial: DaemonNode, state: str):
    trial.add_check("required/children", "sleep 0.1 & wait; test $(umask) = 0022")
    with running(trial, before=STATES[state]) as daemon:
        daemon.wait_for(lambda: trial.block()["boot_cycle"] == "stable", "the confirm")
        daemon.wait_for_notice("STATUS=slot B is booted and trusted")
        daemon.stop()
        log = daemon.log()
    assert "bug" not in log


@pytest.mark.parametrize(("which", "most"), [(resource.RLIMIT_NOFILE, 5), (resource.RLIMIT_FSIZE, 0)])
def test_a_limit_that_stays_is_no_bug(trial: DaemonNode, which: int, most: int):
    before = trial.grubenv.read_bytes()
    done = run(trial, "rollback", before=limit(which, most, most))
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), trial.grubenv.read_bytes()) == (74, 1, before)
    assert lines[0].startswith("manageboot: error: cannot update ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "NO_RESOURCES"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "NO_RESOURCES"),
        (OSError(errno.EMFILE, "Too many open files"), "NO_RESOURCES"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "NO_RESOURCES"),
        (RuntimeError("can't start new thread"), "NO_RESOURCES"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), "NO_RESOURCES"),
        (OSError(errno.EIO, "Input/output error"), "IO_ERROR"),
        (OSError(errno.ENOSPC, "No space left on device"), "IO_ERROR"),
        (OSError(errno.EFBIG, "File too large"), "IO_ERROR"),
    ],
)
def test_what_the_system_lacks_is_no_bug(error: Exception, code: str):
    found = errors.of_the_system(error)
    assert found is not None
    assert (found.code, found.exit_code, str(found)[:13]) == (code, 74, "cannot go on:")


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), FileNotFoundError(2, "x"), ImportError("no sh")])
def test_a_bug_stays_one(error: Exception):
    assert errors.of_the_system(error) is None


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),
        ("1", None, 0.1),
        ("0", None, None),
        ("-5", None, None),
        ("", None, None),
        ("3s", None, None),
        ("\N{ARABIC-INDIC DIGIT THREE}", None, None),
        ("9" * 400, None, None),
        ("9" * 5000, None, None),
    ],
)
def test_how_often_systemd_is_told(
    microseconds: str, pid: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "own" else pid)
    assert notify.watchdog_s() == seconds


@pytest.mark.parametrize("path", ["x" * 500, "relative", "@", "/", "/dev/null", "vsock:2:1234", "\udcff", "/proc/1/x"])
def test_a_place_to_tell_it_that_is_none_stops_nothing(path: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", path)
    notify.ready()
    notify.status("alive all the same")


@pytest.mark.parametrize("error", [ValueError("not allowed to raise maximum limit"), PermissionError(1, "no")])
def test_a_sandbox_that_forbids_to_raise_a_limit_is_no_error(error: Exception, monkeypatch: pytest.MonkeyPatch):
    """As that of the service does."""

    def refuse(_limit: int, _values: tuple[int, int]) -> None:
        raise error

    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (0, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    inherited._raise_limits()


@pytest.mark.parametrize(
    ("soft", "hard", "size", "files"),
    [(0, 5, 5, 5), (0, -1, -1, 256), (-1, -1, None, None), (1024, 4096, 4096, None), (4096, 4096, None, None)],
)
def test_soft_limits_are_raised_as_far_as_it_helps(
    soft: int, hard: int, size: int | None, files: int | None, monkeypatch: pytest.MonkeyPatch
):
    raised: dict[int, tuple[int, int]] = {}
    monkeypatch.setattr(resource, "getrlimit", lambda _limit: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", raised.__setitem__)
    inherited._raise_limits()
    assert raised.get(resource.RLIMIT_FSIZE) == (None if size is None else (size, hard))
    assert raised.get(resource.RLIMIT_NOFILE) == (None if files is None else (files, hard))
    assert resource.RLIMIT_AS not in raised
