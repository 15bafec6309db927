"""The version of the system that runs, as it says itself: a system on trial may say anything, and hangs nobody."""

import os
from pathlib import Path

import pytest

from manageboot.boot import node


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(node, "VERSION_PATH", str(tmp_path / "version.txt"))
    return tmp_path / "version.txt"


@pytest.mark.parametrize(
    ("content", "version"),
    [(b"1.2.3\n", "1.2.3"), (b" 1.2\n beta\n", "1.2 beta"), (b"1\xff", "1\ufffd"), (b"\n", None), (b"1" * 5000, None)],
)
def test_what_the_file_says(path: Path, content: bytes, version: str | None):
    path.write_bytes(content)
    assert node.running_version() == version


@pytest.mark.parametrize("kind", ["nothing", "directory", "fifo"])
def test_what_is_no_file_has_no_version_and_keeps_nobody_waiting(path: Path, kind: str):
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    assert node.running_version() is None
