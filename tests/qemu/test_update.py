"""Update images: the right members in the right order, every one of them sparse, and readable by GNU tar."""

import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.layout import MIB
from qemu_harness.slot import SlotImages
from qemu_harness.update import LONG_ZSTD, MEMBERS, QUICK_ZSTD, build_update, mark_sparse

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="Debian package zstd is not installed")


@pytest.fixture
def images(tmp_path: Path) -> SlotImages:
    """Images with more extents than one header, and one further header, can hold."""
    slot = tmp_path / "slot-key"
    slot.mkdir()
    for name, size, step in (("boot.img", 2 * MIB, MIB), ("root.img", 16 * MIB, 512 * 1024)):
        with (slot / name).open("wb") as file:
            for offset in range(0, size, step):
                file.seek(offset)
                file.write(f"{name} at {offset}".encode().ljust(4096, b"."))
            file.truncate(size)
    return SlotImages(slot / "boot.img", slot / "root.img", "1.2.3")


@pytest.mark.parametrize("zstd", [QUICK_ZSTD, LONG_ZSTD], ids=" ".join)
def test_members_are_sparse_and_whole(
    empty_cache: Cache, images: SlotImages, zstd: Sequence[str], tmp_path: Path
) -> None:
    update = build_update(empty_cache, images, zstd)
    archive = tmp_path / "update-img.tar"
    subprocess.run(["zstd", "-q", "-d", update, "-o", archive], check=True)

    listed = subprocess.check_output(["tar", "--list", "-f", archive], text=True)
    assert listed.splitlines() == list(MEMBERS)
    with tarfile.open(archive) as reader:
        assert [member.type for member in reader] == [tarfile.GNUTYPE_SPARSE] * 3

    output = tmp_path / "extracted"
    output.mkdir()
    subprocess.run(["tar", "--extract", "-f", archive, "-C", output], check=True)
    assert (output / "boot.img").read_bytes() == images.boot.read_bytes()
    assert (output / "root.img").read_bytes() == images.root.read_bytes()
    assert (output / "VERSION.TXT").read_text() == "1.2.3\n"


def test_member_that_is_sparse_already_stays_as_it_is(images: SlotImages, tmp_path: Path) -> None:
    archive = tmp_path / "archive.tar"
    argv = ["tar", "--create", "--sparse", "--format=gnu", "-f", archive, "-C", images.boot.parent, "boot.img"]
    subprocess.run(argv, check=True)
    before = archive.read_bytes()
    mark_sparse(archive, "boot.img")
    assert archive.read_bytes() == before


def test_another_version_is_another_image(empty_cache: Cache, images: SlotImages, tmp_path: Path) -> None:
    other = tmp_path / "slot-other"
    shutil.copytree(images.boot.parent, other)
    with (other / "root.img").open("r+b") as file:
        file.write(b"changed")
    first = build_update(empty_cache, images)
    second = build_update(empty_cache, SlotImages(other / "boot.img", other / "root.img", "1.2.4"))
    assert first.read_bytes() != second.read_bytes()
