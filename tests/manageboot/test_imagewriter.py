"""What the read-back finds on a device that does not hold what it was given."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.blockdev import BlockDevice
from manageboot.image import open_image
from manageboot.imagewriter import HEAD_BYTES, ImageWriter, wipe
from support.images import MIB
from support.loop import loop_device, run

pytestmark = pytest.mark.devices

# Windows of data, of zeros, of both; and an end inside a sector.
IMAGE = b"d" * MIB + bytes(2 * MIB) + bytes(MIB // 2) + b"e" * (MIB // 2) + bytes(777) + b"f"
OLD = b"old " * (6 * MIB // 4)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "disk").write_bytes(OLD)
    with loop_device(tmp_path / "disk") as path:
        yield path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "image").write_bytes(IMAGE)
    return tmp_path / "image"


def write(device: BlockDevice, image: Path, *, withhold_head: bool) -> ImageWriter:
    writer = ImageWriter(device, withhold_head=withhold_head)
    with open_image([str(image), str(image)]) as update:
        writer.write(next(update.members()), lambda: None)
    device.flush()
    return writer


def scribble(path: str, offset: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"X")
        file.flush()
        os.fsync(file.fileno())


def content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def test_every_byte_is_the_images_and_the_rest_of_the_device_is_left_alone(device: str, image: Path):
    with BlockDevice(device) as opened:
        write(opened, image, withhold_head=False).verify(lambda _: None)
    found = content(device)
    assert found[: len(IMAGE)] == IMAGE
    sector_end = -(-len(IMAGE) // 512) * 512
    assert found[sector_end:] == OLD[sector_end:]


@pytest.mark.parametrize(
    ("offset", "said"),
    [
        (0, "at 0: expected sha256 "),
        (MIB - 1, "at 0: expected sha256 "),
        (MIB, f"at {MIB}: expected zeros, read back 58 00"),
        (3 * MIB - 1, f"at {3 * MIB - 4096}: expected zeros, read back 00 00"),
        (4 * MIB - 1, f"at {3 * MIB}: expected sha256 "),
        (4 * MIB + 777, f"at {4 * MIB}: expected sha256 "),
    ],
)
def test_a_changed_byte_is_found_and_named(device: str, image: Path, offset: int, said: str):
    with BlockDevice(device) as opened:
        writer = write(opened, image, withhold_head=False)
        # As another program would; the device is open exclusively, and only such programs ask for that.
        scribble(device, offset)
        with pytest.raises(errors.ReadBackError) as caught:
            writer.verify(lambda _: None)
    assert f"cannot write {device} {said}" in str(caught.value)
    assert caught.value.exit_code == 74


def test_a_withheld_head_comes_last(device: str, image: Path):
    with BlockDevice(device) as opened:
        opened.zero(0, HEAD_BYTES)
        writer = write(opened, image, withhold_head=True)
        writer.verify(lambda _: None)
        assert content(device)[: len(IMAGE)] == bytes(HEAD_BYTES) + IMAGE[HEAD_BYTES:]
        writer.publish_head()
    assert content(device)[: len(IMAGE)] == IMAGE


def test_wiping_more_than_there_is(device: str):
    with BlockDevice(device) as opened:
        wipe(opened, 100 * MIB)
    assert content(device) == bytes(6 * MIB)


def test_a_read_only_device_is_named(device: str, image: Path):
    run("blockdev", "--setro", device)
    try:
        # Some kernels refuse to open it, some to write to it.
        with pytest.raises(errors.NotPermittedError, match=device), BlockDevice(device) as opened:
            write(opened, image, withhold_head=False)
    finally:
        # A loop device stays read-only when its file is gone.
        run("blockdev", "--setrw", device)
