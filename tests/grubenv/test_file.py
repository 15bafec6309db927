"""Reading and durable change of a block in a file."""

import errno
import os
import shutil
import tempfile
import threading
from pathlib import Path

import pytest

import grubenv
from grubenv import DamagedError, FlushError, GrubEnvError, StorageError, view
from grubenv.writing import replace
from grubenv.writing.storage import Storage
from tests.grubenv.blocks import SAMPLE, WARNING, block
from tests.grubenv.disks import mounted

SAMPLE_VARIABLES = {"boot_alternative": "A", "boot_cycle": "stable", "foreign": "kept as it is"}


def check_refused(path: Path, kind: type[GrubEnvError], message: str) -> None:
    """Check that reading and changing are refused alike."""
    for verb, operation in (("read", grubenv.query), ("update", lambda path: grubenv.update(path, {"a": "1"}))):
        with pytest.raises(kind) as caught:
            operation(path)
        assert str(caught.value) == f"cannot {verb} {path}: {message}"


def test_query_and_read(env: Path) -> None:
    env.chmod(0o444)
    assert grubenv.query(env) == grubenv.query(str(env)) == SAMPLE_VARIABLES
    assert grubenv.read(env).build() == SAMPLE


def test_update_in_place(env: Path) -> None:
    before = env.stat()
    outcome = grubenv.update(env, {"boot_alternative": "B", "boot_cycle": "first_boot"}, ["nothing"])
    assert env.read_bytes() == block(WARNING + b"boot_alternative=B\nboot_cycle=first_boot\nforeign=kept as it is\n")
    assert outcome.before == SAMPLE_VARIABLES
    assert outcome.after == {**SAMPLE_VARIABLES, "boot_alternative": "B", "boot_cycle": "first_boot"}
    assert outcome.changed
    assert outcome.how in {"direct", "buffered"}
    assert outcome.beyond_first_sector == ()
    assert env.stat().st_ino == before.st_ino
    assert [entry.name for entry in env.parent.iterdir()] == ["grubenv"]


def test_nothing_is_written_when_nothing_changes(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "write_sector", None)
    before = env.stat()
    outcome = grubenv.update(env, {"boot_cycle": "stable"}, ["nothing"])
    assert (outcome.changed, outcome.how) == (False, "unchanged")
    assert env.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("size", [333, 512, 700, 1024, 4096, 8192])
def test_sizes(env: Path, size: int) -> None:
    env.write_bytes(block(b"a=1\n", size))
    grubenv.update(env, {"a": "2"})
    assert env.read_bytes() == block(b"a=2\n", size)


def test_the_second_sector_alone(env: Path) -> None:
    env.write_bytes(block(b"long=" + b"x" * 500 + b"\nlast=1\n", 700))
    outcome = grubenv.update(env, {"last": "2"})
    assert env.read_bytes() == block(b"long=" + b"x" * 500 + b"\nlast=2\n", 700)
    assert outcome.beyond_first_sector == ("long", "last")


def test_names_that_boot_must_stay_in_the_first_sector(env: Path) -> None:
    env.write_bytes(block(b"long=" + b"x" * 500 + b"\nlast=1\n"))
    with pytest.raises(grubenv.NotAtomicError, match="last would not lie within the first 512 bytes"):
        grubenv.update(env, {"last": "2"}, required_in_first_sector=["last", "not_set"])


def test_absent_files(tmp_path: Path) -> None:
    check_refused(tmp_path / "grubenv", grubenv.AbsentError, "no such file or directory")
    assert not list(tmp_path.iterdir())
    nowhere = tmp_path / "no" / "grubenv"
    with pytest.raises(grubenv.AbsentError, match=f"cannot update {nowhere}: no such file or directory"):
        grubenv.update(nowhere, {"a": "1"}, create_missing=True)
    with pytest.raises(grubenv.CannotCreateError, match=f"cannot create {nowhere}: no such file or directory"):
        grubenv.create(nowhere)


def test_an_absent_or_empty_file_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    outcome = grubenv.update(path, {"a": "1"}, create_missing=True)
    assert (outcome.how, outcome.before, outcome.after) == ("replaced", {}, {"a": "1"})
    assert path.read_bytes() == block(b"a=1\n")
    path.write_bytes(b"")
    path.chmod(0o600)
    check_refused(path, DamagedError, "empty, 0 bytes")
    grubenv.update(path, {"a": "2"}, create_missing=True)
    assert path.read_bytes() == block(b"a=2\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["grubenv"]


@pytest.mark.parametrize("data", [bytes(1024), b"", b"x", SAMPLE + b"\0"])
def test_a_damaged_file_is_not_touched(env: Path, data: bytes) -> None:
    env.write_bytes(data)
    with pytest.raises(DamagedError) as caught:
        grubenv.update(env, {"a": "1"})
    assert str(caught.value).startswith(f"cannot update {env}: ")
    assert env.read_bytes() == data


def test_create(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    assert grubenv.create(path).how == "replaced"
    assert path.read_bytes() == block(b"")
    assert grubenv.create(path).how == "unchanged"
    grubenv.update(path, {"a": "1"})
    assert grubenv.create(path).how in {"direct", "buffered"}
    assert grubenv.create(path, size=4096).how == "replaced"
    assert path.read_bytes() == block(b"", 4096)
    path.write_bytes(b"junk")
    grubenv.create(path)
    assert path.read_bytes() == block(b"")


def test_links_are_followed_and_stay(env: Path, tmp_path: Path) -> None:
    (tmp_path / "esp").mkdir()
    target = env.rename(tmp_path / "esp" / "grubenv")
    env.symlink_to("esp/grubenv")
    grubenv.update(env, {"boot_cycle": "first_boot"})
    assert grubenv.query(target)["boot_cycle"] == grubenv.query(env)["boot_cycle"] == "first_boot"
    target.write_bytes(b"")
    grubenv.update(env, {"a": "1"}, create_missing=True)
    assert env.is_symlink()
    assert target.read_bytes() == block(b"a=1\n")
    target.unlink()
    check_refused(env, grubenv.AbsentError, "no such file or directory")
    grubenv.create(env)
    assert target.read_bytes() == block(b"")


def test_loops_of_links_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.symlink_to("grubenv")
    with pytest.raises(StorageError, match="symbolic links"):
        grubenv.query(path)
    with pytest.raises(GrubEnvError):
        grubenv.update(path, {"a": "1"}, create_missing=True)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    check_refused(tmp_path / "pipe", grubenv.NotRegularError, "it is a pipe, not a regular file")
    check_refused(tmp_path / "directory", grubenv.NotRegularError, "it is a directory, not a regular file")
    check_refused(Path("/dev/null"), grubenv.NotRegularError, "it is a character device, not a regular file")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**40)
    check_refused(tmp_path / "huge", grubenv.NotRegularError, "1099511627776 bytes are more than a block has")


def failing(number: int, calls: list[str], after: int = 0):
    def fail(*_: object, **__: object) -> None:
        calls.append("called")
        if len(calls) > after:
            raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("after", [0, 1])
def test_a_failed_flush_is_final(env: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    calls: list[str] = []
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO, calls, after))
    with pytest.raises(FlushError, match=r"cannot update .*: flush failed \(input/output error\)") as caught:
        grubenv.update(env, {"a": "1"})
    assert len(calls) == after + 1
    assert caught.value.now == ("" if after == 0 else "new, but not known to be durable")


def test_what_reads_back_otherwise_is_an_error(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "write_sector", lambda *_: None)
    with pytest.raises(StorageError, match="what was read back is not what was written at offset"):
        grubenv.update(env, {"a": "1"})


@pytest.mark.parametrize("call", ["write", "rename", "fsync"])
def test_a_failed_replacement_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    monkeypatch.setattr(replace.os, call, failing(errno.ENOSPC, []))
    with pytest.raises(FlushError if call == "fsync" else grubenv.CannotCreateError, match="cannot update"):
        grubenv.update(tmp_path / "grubenv", {"a": "1"}, create_missing=True)
    assert not list(tmp_path.iterdir())


def test_a_temporary_file_left_by_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "grubenv.new").write_bytes(b"half")
    grubenv.create(tmp_path / "grubenv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["grubenv"]


def test_without_direct_access_it_is_written_through_the_cache(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "_set_direct", lambda *_: False)
    assert grubenv.update(env, {"a": "1"}).how == "buffered"
    assert grubenv.query(env)["a"] == "1"


def test_a_block_that_reads_otherwise_is_never_written(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "variables", lambda _: {})
    with pytest.raises(grubenv.ReadingsDifferError):
        grubenv.update(env, {"a": "1"})
    assert env.read_bytes() == SAMPLE


def test_another_user_may_ask_but_not_change(env: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(shutil.copy(env, directory))
        path.chmod(0o644)
        Path(directory).chmod(0o755)
        os.seteuid(65534)
        try:
            assert grubenv.query(path) == SAMPLE_VARIABLES
            for operation in (lambda: grubenv.update(path, {"a": "1"}), lambda: grubenv.create(path)):
                with pytest.raises(grubenv.NotPermittedError, match="permission denied"):
                    operation()
        finally:
            os.seteuid(0)
        assert path.read_bytes() == SAMPLE


def test_a_reader_never_sees_a_torn_block(env: Path) -> None:
    stop = threading.Event()
    seen: set[tuple[str, str]] = set()

    def look() -> None:
        while not stop.is_set():
            found = grubenv.query(env)
            seen.add((found["one"], found["two"]))

    grubenv.update(env, {"one": "a", "two": "a"})
    reader = threading.Thread(target=look)
    reader.start()
    try:
        for letter in "bcdefghij" * 10:
            grubenv.update(env, {"one": letter * 9, "two": letter})
    finally:
        stop.set()
        reader.join()
    assert all(one.strip(two) == "" for one, two in seen)


@pytest.mark.devices
@pytest.mark.parametrize(
    ("sector_size", "size", "how"),
    [
        (512, 1024, "direct"),
        (512, 700, "direct"),
        (4096, 4096, "direct"),
        (4096, 1024, "buffered"),
    ],
)
def test_on_a_disk(tmp_path: Path, sector_size: int, size: int, how: str) -> None:
    with mounted(tmp_path, sector_size=sector_size) as point:
        path = point / "grubenv"
        path.write_bytes(block(b"a=1\n", size))
        assert grubenv.update(path, {"a": "two"}).how == how
        assert path.read_bytes() == block(b"a=two\n", size)
