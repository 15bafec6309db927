"""The lock: one holder, who dies with it; nobody without rights can take it, and a full disk is no obstacle."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.system import lock
from support.loop import run


def test_it_is_held_once_and_released(tmp_path: Path):
    path = str(tmp_path / "made" / "lock")
    with lock.held(path, "confirm"):
        assert lock.holder(path) == f"{os.getpid()} confirm"
        with pytest.raises(errors.LockedError, match=rf"cannot rollback: .*\({os.getpid()} confirm\)") as caught:
            lock.held(path, "rollback").__enter__()
        assert caught.value.exit_code == 75
    assert lock.holder(path) is None
    assert Path(path).read_text() == ""
    with lock.held(path, "rollback"):
        pass


def test_nothing_is_said_of_a_holder_that_failed(tmp_path: Path):
    path = tmp_path / "lock"
    with suppress(ZeroDivisionError), lock.held(str(path), "upgrade-install"):
        _ = 1 / 0
    assert path.read_text() == ""


def test_it_dies_with_its_holder(tmp_path: Path):
    path = str(tmp_path / "lock")
    code = f"from manageboot.system import lock\nwith lock.held({path!r}, 'x'): print(flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert lock.holder(path) == f"{holder.pid} x"
        holder.kill()
    with lock.held(path, "y"):
        pass


def test_it_can_be_waited_for(tmp_path: Path):
    path = str(tmp_path / "lock")
    code = f"from manageboot.system import lock\nwith lock.held({path!r}, 'x', wait_s=60): print('mine', flush=True)"
    command = [sys.executable, "-c", code]
    with lock.held(path, "y"):
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
    assert waiting.communicate(timeout=60) == ("mine\n", None)


def test_who_holds_it_briefly_is_waited_for(tmp_path: Path):
    path = str(tmp_path / "lock")
    code = f"from manageboot.system import lock\nwith lock.held({path!r}, 'x', brief=True): print(flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert lock.holder(path) == f"{holder.pid} x briefly"
        threading.Timer(0.3, holder.stdin.close).start()
        with lock.held(path, "y"):
            holder.wait(60)


def test_who_does_not_say_for_how_long_is_soon_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "lock"
    with lock.held(str(path), "y"), monkeypatch.context() as patch:
        path.write_text("")
        patch.setattr(lock, "_UNSAID_WAIT_S", 0.1)
        with pytest.raises(errors.LockedError, match=r" for more than 0\.1 s \(unknown\)"):
            lock.held(str(path), "z").__enter__()


def test_waiting_ends(tmp_path: Path):
    path = str(tmp_path / "lock")
    with lock.held(path, "y"), pytest.raises(errors.LockedError, match=r" for more than 0\.1 s "):
        lock.held(path, "z", wait_s=0.1).__enter__()


@pytest.mark.devices
def test_a_full_file_system_is_no_obstacle(tmp_path: Path):
    run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", tmp_path)
    try:
        (tmp_path / "lock").touch()
        (tmp_path / "filler").write_bytes(b"x" * 4096)
        with lock.held(str(tmp_path / "lock"), "confirm"):
            assert lock.holder(str(tmp_path / "lock")) == str(os.getpid())
    finally:
        run("umount", tmp_path)


def test_it_can_be_locked_by_its_owner_only(tmp_path: Path):
    path = tmp_path / "lock"
    path.touch(mode=0o666)
    with lock.held(str(path), "confirm"):
        pass
    assert path.stat().st_mode & 0o777 == 0o600
