"""A run that is forked is as one that is started: it has the same from its caller, and ends in the same way."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from architecture.sources import TESTS
from support import forked

COMMAND = [sys.executable, "-m", "architecture.probe"]
ENDING = """
ended, pid, *command = sys.argv[1:]
# What it says of the end would be said while Python ends, which 3.13 does not forgive.
threading.excepthook = lambda _: None
threading.Thread(target=forked.run, args=(command,), daemon=True).start()
while not (os.path.exists(pid) and Path(pid).read_text()):
    time.sleep(0.01)
Path(pid + ".server").write_text(str(forked._server()._process.pid))
if ended == "killed":
    os.kill(os.getpid(), 9)
"""
"""Somebody who ends while a run goes on."""
ENDS = ["nothing", "status", "text", "raises", "killed", "thread", "full"]


def started(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **options)


def what_it_has(done: subprocess.CompletedProcess[str]) -> dict[str, list[object]]:
    return json.loads(done.stdout.splitlines()[0])


@pytest.mark.parametrize("how", ENDS)
def test_it_has_the_same_and_ends_the_same(how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Also what a test has changed since the server was started."""
    monkeypatch.setenv("PATH", f"/nothing:{os.environ['PATH']}")
    (tmp_path / "input").write_text("ünï\r\n")
    umask = os.umask(0o027)
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    runs = []
    try:
        for way in (forked.run, started):
            with (tmp_path / "input").open() as given:
                # What readline has put there unseen is in no fork.
                environment = {**os.environ}
                runs.append(way([*COMMAND, how, "two words", "\udcff"], cwd=TESTS, stdin=given, env=environment))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGHUP, handler)
        os.umask(umask)
    here, there = (what_it_has(done) for done in runs)
    assert here == there
    assert runs[0].returncode == runs[1].returncode
    # A traceback has other lines above.
    assert runs[0].stderr.splitlines()[-1:] == runs[1].stderr.splitlines()[-1:]
    assert runs[0].stdout == runs[1].stdout


def test_it_is_killed_when_it_takes_too_long(tmp_path: Path):
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run([*COMMAND, "hangs", str(tmp_path / "pid")], cwd=TESTS, timeout=3)
    pid = (tmp_path / "pid").read_text()
    deadline = time.monotonic() + 60
    while Path("/proc", pid).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_matters_from_the_start_on_is_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    done = forked.run([*COMMAND, "nothing"], cwd=TESTS)
    assert what_it_has(done)["streams"][1][0] == "iso8859-1"


def test_python_may_have_another_name(monkeypatch: pytest.MonkeyPatch):
    """As where make starts it in another directory."""
    name = Path(sys.executable)
    monkeypatch.setattr(sys, "executable", f"{name.parent}/../{name.parent.name}/{name.name}")
    done = forked.run([sys.executable, *COMMAND[1:], "nothing"], cwd=TESTS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("ended", ["asks no more", "killed"])
def test_the_server_and_its_runs_end_with_whoever_asks(tmp_path: Path, ended: str):
    """Even one that is killed."""
    code = f"import os, sys, threading, time\nfrom pathlib import Path\nfrom support import forked\n{ENDING}"
    command = [sys.executable, "-c", code, ended, str(tmp_path / "pid"), *COMMAND, "hangs", str(tmp_path / "pid")]
    done = subprocess.run(command, check=False, cwd=TESTS, env={**os.environ, "PYTHONPATH": str(TESTS)}, timeout=60)
    assert done.returncode == {"asks no more": 0, "killed": -signal.SIGKILL}[ended]
    run = Path("/proc", (tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while run.exists() or Path("/proc", (tmp_path / "pid.server").read_text()).exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
