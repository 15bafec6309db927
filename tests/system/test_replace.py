"""Replacing a file as a whole, which all small files of ours go through."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.system import files


@pytest.fixture(params=[False, True], ids=["not durable", "durable"])
def durable(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("old")
    return path


def test_all_may_read_it_whatever_the_umask_is(tmp_path: Path, durable: bool):
    before = os.umask(0o077)
    try:
        files.replace(str(tmp_path / "file"), b"new", durable=durable)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_no_link_is_followed(old: Path, durable: bool):
    link = old.with_name("link")
    link.symlink_to(old)
    Path(f"{link}.new").symlink_to(old)
    files.replace(str(link), b"new", durable=durable)
    assert (old.read_text(), link.is_symlink(), link.read_text()) == ("old", False, "new")


@pytest.mark.parametrize("call", ["open", "fsync", "posix_fadvise", "pread", "rename"])
def test_a_failure_leaves_the_old_file_and_nothing_else(old: Path, monkeypatch: pytest.MonkeyPatch, call: str):
    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(OSError, match="Input/output error"):
            files.replace(str(old), b"new", durable=True)
    assert [(path.name, path.read_text()) for path in old.parent.iterdir()] == [("file", "old")]


def test_what_the_disk_does_not_keep_replaces_nothing(old: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", lambda _descriptor, length, _offset: b"news"[:length])
        with pytest.raises(errors.ReadBackError, match="does not hold what was written"):
            files.replace(str(old), b"new", durable=True)
    assert [(path.name, path.read_text()) for path in old.parent.iterdir()] == [("file", "old")]


def test_a_durable_one_is_on_the_disk_before_its_name_and_so_is_the_name_at_the_end(old: Path, durable: bool):
    code = f"from manageboot.system import files; files.replace({str(old)!r}, b'new', durable={durable})"
    log = old.with_name("calls")
    command = ["strace", "-y", "-o", str(log), "-e", "trace=fsync,rename,fadvise64,pread64", sys.executable, "-c", code]
    subprocess.run(command, check=True)
    lines = [line for line in log.read_text().splitlines() if str(old.parent) in line]
    calls = [match[1] for line in lines if (match := re.match(r"(\w+)\(", line))]
    # The new one once more behind its name: vfat fills the entry only then.
    assert calls == (["fsync", "fadvise64", "pread64", "rename", "fsync", "fsync"] if durable else ["rename"])
    if durable:
        assert f"<{old}.new>" in lines[0]
        assert f"<{old}>" in lines[-2]
        assert f"<{old.parent}>" in lines[-1]
