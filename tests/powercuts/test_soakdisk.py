"""The disk of a node between two runs of a soak."""

import os
from pathlib import Path

import pytest

from manageboot.system import files
from powercuts.soakdisk import SoakDisk

SIZE = 1 << 20
FIRST, SECOND = [(0, b"a" * 512), (4096, b"b" * 1024), (0, b"c" * 512)], [(4096, b"d" * 512), (SIZE - 512, b"e" * 512)]


class Killed(BaseException):
    """Stands for a signal that nobody catches."""


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.write(b"o" * 8192)
    return path


def landed(content: bytes, pieces: list[tuple[int, bytes]]) -> bytes:
    disk = bytearray(content)
    for offset, data in pieces:
        disk[offset : offset + len(data)] = data
    return bytes(disk)


def test_a_disk_is_gone_on_with_as_it_was_left(tmp_path: Path, origin: Path):
    disk = SoakDisk(tmp_path / "node", origin, "1")
    assert disk.notes == {}
    assert disk.path.read_bytes() == origin.read_bytes()
    disk.advance(FIRST, {"round": 1})
    disk.advance(SECOND, {"round": 2})
    again = SoakDisk(tmp_path / "node", origin, "1")
    assert again.notes == disk.notes == {"round": 2}
    assert again.path.read_bytes() == landed(landed(origin.read_bytes(), FIRST), SECOND)
    again.advance(FIRST, {"round": 3})
    assert SoakDisk(tmp_path / "node", origin, "1").path.read_bytes() == again.path.read_bytes()


def test_the_disk_of_another_build_is_not_gone_on_with(tmp_path: Path, origin: Path):
    SoakDisk(tmp_path / "node", origin, "1").advance(FIRST, {"round": 1})
    other = tmp_path / "other.img"
    other.write_bytes(b"p" * SIZE)
    disk = SoakDisk(tmp_path / "node", other, "2")
    assert disk.notes == {}
    assert disk.path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("place", ["putting aside", "noting", "forgetting the round before", "landing"])
def test_a_run_that_is_killed_leaves_the_disk_before_the_round_or_after_it(
    tmp_path: Path, origin: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    disk = SoakDisk(tmp_path / "node", origin, "1")
    disk.advance(FIRST, {"round": 1})
    before = disk.path.read_bytes()
    calls = {"count": 0}

    def killed(*_: object, **__: object) -> None:
        calls["count"] += 1
        raise Killed

    def pieces():
        yield SECOND[0]
        if place == "putting aside":
            killed()
        yield SECOND[1]

    def landing(descriptor: int, data: bytes, offset: int) -> None:
        os.lseek(descriptor, offset, os.SEEK_SET)
        os.write(descriptor, data)
        killed()

    with monkeypatch.context() as patch, pytest.raises(Killed):
        if place == "noting":
            patch.setattr(files, "replace", killed)
        if place == "forgetting the round before":
            patch.setattr(Path, "unlink", killed)
        if place == "landing":
            patch.setattr(os, "pwrite", landing)
        disk.advance(pieces(), {"round": 2})
    assert calls["count"] == 1
    again = SoakDisk(tmp_path / "node", origin, "1")
    is_after = place in {"forgetting the round before", "landing"}
    assert again.notes == {"round": 2 if is_after else 1}
    assert again.path.read_bytes() == (landed(before, SECOND) if is_after else before)
    again.advance(SECOND, {"round": 3})
    assert again.path.read_bytes() == landed(before, SECOND)
