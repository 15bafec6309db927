"""What can't be looked at is not taken for what is not there: without /proc or /sys, as in a rescue chroot."""

import os
import sys
from pathlib import Path

import pytest

import grubenv
from grubenv import repairing
from grubenv.disk import filesystem
from grubenv.disk.device import RawDevice
from grubenv.file import read_at
from support.loop import loop_device
from support.without import run_without
from tests.grubenv.blocks import FALLBACK, SAMPLE, block

IN_B = block(b"boot_alternative=B\nboot_cycle=failsafe_check\nforeign=kept\n")
WORDS = [f"{name}={value}" for name, value in FALLBACK.items()]


def run(without: list[str], *words: str | Path) -> tuple[int, str]:
    done = run_without(without, sys.executable, "-m", "grubenv", *words)
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.mark.devices
@pytest.mark.parametrize("without", [["/proc"], ["/sys"], ["/proc", "/sys"]], ids=" and ".join)
def test_a_sound_block_stays_as_it_is(tmp_path: Path, without: list[str]) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(IN_B)
    os.sync()
    assert run(without, path, "repair", *WORDS) == (0, f"{path}: sound, nothing to repair\n")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (IN_B, [path])


@pytest.mark.devices
@pytest.mark.parametrize("without", [["/proc"], ["/sys"], ["/proc", "/sys"]], ids=" and ".join)
def test_a_damaged_block_is_mended_and_copied_first(tmp_path: Path, without: list[str]) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(IN_B[:-1] + b"x")
    os.sync()
    status, out = run(without, path, "repair", *WORDS)
    assert status == 0
    assert f"{path}: the damaged bytes are kept in {path}.damaged\n" in out
    assert path.read_bytes() == IN_B
    assert Path(f"{path}.damaged").read_bytes() == IN_B[:-1] + b"x"


@pytest.mark.devices
@pytest.mark.parametrize("missing", ["/proc", "/sys"])
def test_check_says_what_it_could_not_look_at(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE)
    os.sync()
    status, out = run([missing], path, "check")
    assert status == 0
    assert f"{path}: not looked at: the file system ({missing} is not mounted)\n" in out


def test_only_a_missing_file_is_absent(tmp_path: Path) -> None:
    (tmp_path / "grubenv").write_bytes(SAMPLE)
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "directory").mkdir()
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        assert read_at(directory, "grubenv", "/b/grubenv") == SAMPLE
        assert read_at(directory, "missing", "/b/missing") is None
        for name in ("link", "directory"):
            with pytest.raises(grubenv.NotRegularError, match=f"cannot read /b/{name}: it is a "):
                read_at(directory, name, f"/b/{name}")
    finally:
        os.close(directory)


def test_what_was_not_copied_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE[:200])
    keep_copy = repairing._keep_copy

    def write_after_the_copy(*arguments: object) -> str:
        copy = keep_copy(*arguments)
        path.write_bytes(IN_B)
        return copy

    monkeypatch.setattr(repairing, "_keep_copy", write_after_the_copy)
    with pytest.raises(grubenv.StorageError, match=f"cannot repair {path}: it changed while it was repaired"):
        grubenv.repair(path, FALLBACK)
    assert path.read_bytes() == IN_B


def test_a_file_that_appears_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "grubenv"
    looks = []

    def look(*arguments: object) -> object:
        looks.append(arguments)
        if len(looks) == 2:
            path.write_bytes(IN_B)
        return read_at(*arguments)

    monkeypatch.setattr(repairing, "read_at", look)
    with pytest.raises(grubenv.StorageError, match="it changed while it was repaired"):
        grubenv.repair(path, FALLBACK)
    assert path.read_bytes() == IN_B


def test_a_device_that_sysfs_does_not_know_is_not_called_sound(tmp_path: Path) -> None:
    (tmp_path / "sys" / "dev" / "block").mkdir(parents=True)
    for tree, cause in ((tmp_path / "empty", "/sys is not mounted"), (tmp_path / "sys", "no block device 253:3")):
        for ask in (filesystem.device_damage, filesystem.device_path):
            with pytest.raises(LookupError, match=cause):
                ask(os.makedev(253, 3), str(tree))


@pytest.mark.devices
def test_a_node_of_another_device_is_not_read_as_the_file_systems_own(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    with loop_device(tmp_path / "disk") as path, pytest.raises(OSError, match="No such device"):
        RawDevice(path, os.makedev(253, 3))
    with pytest.raises(OSError, match="No such device"):
        RawDevice(str(tmp_path / "disk"), os.makedev(253, 3))
