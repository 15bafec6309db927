"""A disk without partitions is told what it is."""

import os
from pathlib import Path

import pytest

from manageboot.errors import PartitionTableError
from manageboot.offline import gpt
from support.contents import EXT4, FOREIGN, PASSING

CASES = {
    **{what: data for what, data in FOREIGN.values() if "GPT" not in what},
    "an ext4 file system": EXT4,
    "a LUKS volume": PASSING["LUKS"][1],
    "zeros": bytes(4096),
}


def refusal(data: bytes, path: Path) -> PartitionTableError:
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(PartitionTableError) as caught:
            gpt.read(str(path), descriptor)
    finally:
        os.close(descriptor)
    return caught.value


@pytest.mark.parametrize("what", CASES)
def test_what_is_there_instead_of_a_gpt(what: str, tmp_path: Path):
    error = refusal(CASES[what], tmp_path / "disk")
    assert str(error) == f"cannot read the partitions of {tmp_path}/disk: it is {what}, and has no GPT"


def test_a_disk_image_has_to_be_converted(tmp_path: Path):
    assert refusal(CASES["a qcow2 disk image"], tmp_path / "x").hint == "convert it with qemu-img convert -O raw"
    # As the archive that such images are released in.
    unpack = "unpack it, and give the image of the disk that is inside"
    assert refusal(CASES["gzip-compressed"], tmp_path / "x").hint == unpack
    assert refusal(CASES["a tar archive"], tmp_path / "x").hint == unpack
    assert refusal(CASES["an ext4 file system"], tmp_path / "x").hint == PartitionTableError.usual_hint
    assert refusal(CASES["a whole disk with an MBR"], tmp_path / "x").hint == PartitionTableError.usual_hint


@pytest.mark.parametrize("data", [FOREIGN["whole disk, GPT"][1], b"\x80" * 9000], ids=["damaged GPT", "unknown"])
def test_what_is_unknown_is_not_named(data: bytes, tmp_path: Path):
    assert str(refusal(data, tmp_path / "disk")).endswith(": it has no GPT, or a damaged one")
