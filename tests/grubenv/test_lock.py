"""One writer at a time: which lock is taken, and who can get into its way."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import grubenv
from grubenv.writing import lock

ROOT = Path(grubenv.__file__).parents[1]
NOBODY = 65534


@pytest.fixture
def run_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for locks of this test's own."""
    if os.geteuid() != 0:
        pytest.skip("locks in /run are root's")
    directory = tmp_path_factory.mktemp("run") / "grubenv"
    monkeypatch.setattr(lock, "RUN_DIRECTORY", str(directory))
    return directory


@contextmanager
def flocked(directory: Path) -> Iterator[None]:
    """Do what anybody may do who can read a directory."""
    holder = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(holder)


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Be a writer of the block."""
    with lock.locked_directory(str(path.parent), 0, str(path)):
        yield


def is_locked(path: Path, wait_s: float = 0) -> bool:
    try:
        grubenv.update(path, {"a": str(time.monotonic_ns())}, timeout_s=wait_s)
    except grubenv.LockedError:
        return True
    return False


def test_the_wait_for_another_writer_is_bounded(env: Path) -> None:
    with written(env):
        assert grubenv.query(env)["boot_alternative"] == "A"
        start = time.monotonic()
        with pytest.raises(grubenv.LockedError, match=r"another process is writing it, waited 0\.1 s"):
            grubenv.update(env, {"a": "1"}, timeout_s=0.1)
        assert 0.1 <= time.monotonic() - start < 2
    grubenv.update(env, {"a": "1"}, timeout_s=0)


def test_who_may_only_read_cannot_delay_root(env: Path, run_directory: Path) -> None:
    with flocked(env.parent):
        assert not is_locked(env)
    assert run_directory.stat().st_mode & 0o777 == 0o700
    assert list(run_directory.iterdir()) == []


def test_every_way_to_the_block_is_the_same_lock(env: Path, run_directory: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(env.parent)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", env.parent, mounted], check=True)
    try:
        for way in (link / env.name, mounted / env.name):
            with written(way):
                assert is_locked(env)
            with written(env):
                assert is_locked(way)
            assert not is_locked(way)
    finally:
        subprocess.run(["umount", mounted], check=True)


def test_blocks_in_other_directories_do_not_wait_for_each_other(env: Path, run_directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "grubenv"
    other.parent.mkdir()
    grubenv.create(other)
    with written(env):
        assert not is_locked(other)


@pytest.mark.parametrize("mode", [0o775, 0o777])
def test_where_others_may_write_the_directory_is_the_lock(env: Path, run_directory: Path, mode: int) -> None:
    env.parent.chmod(mode)
    with flocked(env.parent):
        assert is_locked(env)
    env.parent.chmod(0o755)
    env.chmod(0o666)
    with flocked(env.parent):
        assert is_locked(env)
    assert not run_directory.exists()


def test_without_a_run_directory_the_directory_is_the_lock(env: Path, run_directory: Path) -> None:
    # Whose parent is not there, as in a chroot without /run.
    run_directory.parent.rmdir()
    with flocked(env.parent):
        assert is_locked(env)
    assert not is_locked(env)


def test_without_root_the_directory_is_the_lock(run_directory: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "grubenv")
        grubenv.create(path)
        for one in (path.parent, path):
            os.chown(one, NOBODY, NOBODY)
        run_directory.parent.chmod(0o777)
        os.seteuid(NOBODY)
        try:
            with flocked(path.parent):
                assert is_locked(path)
            assert not is_locked(path)
        finally:
            os.seteuid(0)


def test_a_waiter_does_not_take_a_lock_that_was_removed(env: Path, run_directory: Path) -> None:
    """Three writers one after the other, each of which waits for the one before: never two at once."""
    program = (
        "import sys, time, grubenv.writing.lock as lock\n"
        "lock.RUN_DIRECTORY, path, log = sys.argv[1:]\n"
        "for turn in range(20):\n"
        "    with lock.locked_directory(path.rpartition('/')[0], 60, path), open(log, 'a') as file:\n"
        "        file.write('in\\n'); file.flush(); time.sleep(0.002); file.write('out\\n'); file.flush()\n"
    )
    log = env.parent / "log"
    command = [sys.executable, "-c", program, run_directory, env, log]
    writers = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert log.read_text() == "in\nout\n" * 60
    assert list(run_directory.iterdir()) == []
