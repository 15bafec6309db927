"""Making a block inside a file system that is not mounted, where something beside the disk is missing."""

import tempfile
from pathlib import Path

import pytest

import grubenv
from grubenv import Inside
from manageboot import errors
from manageboot.boot import blockfile
from support.fatdisk import MIB, make_fat
from tests.grubenv.blocks import SAMPLE
from tests.grubenv.support import need


@pytest.mark.parametrize("there", ["nothing", "a file"])
def test_without_room_for_a_temporary_file_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    need("mkfs.vfat", "mcopy")
    disk = make_fat(tmp_path / "disk.img", 40 * MIB, "-F", "16")
    place = Inside(str(disk.path), 0, 40 * MIB, "grubenv")
    before = disk.path.read_bytes()
    gone = tmp_path / "gone"
    if there == "a file":
        gone.touch()
    monkeypatch.setattr(tempfile, "tempdir", str(gone))
    with pytest.raises(errors.CreateError, match=r"out of a temporary file: (No such|Not a) ") as caught:
        blockfile.make_inside(place, SAMPLE)
    assert caught.value.hint == "TMPDIR names its directory"
    assert disk.path.read_bytes() == before
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    blockfile.make_inside(place, SAMPLE)
    assert grubenv.read_bytes(place) == SAMPLE
