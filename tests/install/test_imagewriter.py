"""What the read-back finds on a device that does not hold what it was given."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.boot.header import HEADER_BYTES
from manageboot.disk.blockdev import BlockDevice, wipe
from manageboot.image import open_image
from manageboot.install.imagewriter import ImageWriter, Window
from manageboot.install.pipeline import Buffers
from manageboot.install.readback import ReadBack
from support.images import MIB
from support.loop import loop_device, run
from support.mounts import fill
from support.served import served

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


def write(
    device: BlockDevice, image: Path, *, header_last: bool, skip_identical: bool = False
) -> tuple[ImageWriter, list[Window]]:
    """Write an image, one stage after the other; return the windows for the read-back."""
    writer = ImageWriter(device, header_last=header_last)
    buffers = Buffers(10, MIB)
    with open_image([str(image), str(image)]) as update:
        windows = list(writer.windows(next(update.members()), buffers))
        for window in windows:
            if window.buffer is not None:
                writer.hash(window)
                window.buffer = window.buffer if window.digest else None
            writer.write(window, skip_identical=skip_identical)
    device.flush()
    return writer, windows


def verify(windows: list[Window]) -> None:
    assert list(ReadBack(compare=True).stage(iter(windows))) == windows


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
        writer, windows = write(opened, image, header_last=False)
        verify(windows)
        assert writer.written < len(IMAGE)
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
        _, windows = write(opened, image, header_last=False)
        # As another program would; the device is open exclusively, and only such programs ask for that.
        scribble(device, offset)
        with pytest.raises(errors.ReadBackError) as caught:
            verify(windows)
    assert f"cannot write {device} {said}" in str(caught.value)
    assert caught.value.exit_code == 74


def test_windows_that_are_read_at_once_are_told_apart(device: str, tmp_path: Path):
    (tmp_path / "image").write_bytes(b"".join(bytes((letter,)) * MIB for letter in b"abcdef"))
    with BlockDevice(device) as opened:
        _, windows = write(opened, tmp_path / "image", header_last=False)
        verify(windows)
        # Four are read at once, so the sixth is in the second request.
        for offset in (2 * MIB + 1, 5 * MIB + 1):
            scribble(device, offset)
            with pytest.raises(errors.ReadBackError, match=f" at {offset - 1}: expected sha256"):
                verify(windows)
            opened.write(offset - 1, windows[offset // MIB].buffer)


@pytest.mark.parametrize("offset", [0, 16 * MIB, 32 * MIB + 4095, 40 * MIB - 1])
def test_zeros_are_sampled_all_along(tmp_path: Path, offset: int):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(40 * MIB)
    with loop_device(tmp_path / "large") as path, BlockDevice(path) as opened:
        window = Window(ImageWriter(opened, header_last=False), 0, 40 * MIB, None)
        read_back = ReadBack(compare=True)
        assert list(read_back.stage(iter([window]))) == [window]
        assert read_back.bytes_read == 4 * 4096
        scribble(path, offset)
        with pytest.raises(errors.ReadBackError, match="expected zeros"):
            verify([window])


class SlowDevice:
    """Takes its time for a flush, on a clock that the test moves."""

    def __init__(self, flush_s: float) -> None:
        self.flush_s = flush_s
        self.now_s = 0.0
        self.flushes = 0

    def flush(self) -> None:
        self.now_s += self.flush_s
        self.flushes += 1


def test_less_is_flushed_at_a_time_where_that_takes_long(monkeypatch: pytest.MonkeyPatch):
    device = SlowDevice(2.0)
    monkeypatch.setattr("manageboot.install.readback.monotonic", lambda: device.now_s)
    writer = ImageWriter(device, header_last=False)  # type: ignore[arg-type]  # it is only flushed
    windows = [Window(writer, number * MIB, MIB, None, digest=b"data") for number in range(32 + 16 + 8 + 4 + 4)]
    read_back = ReadBack(compare=False)
    assert list(read_back.stage(iter(windows))) == windows
    assert device.flushes == 5
    device.flush_s, device.flushes = 0.01, 0
    assert list(read_back.stage(iter(windows))) == windows
    assert device.flushes == 4 + 1  # 4, 8, 16, 32 and 4 windows


def test_the_header_comes_last(device: str, image: Path):
    with BlockDevice(device) as opened:
        opened.zero(0, HEADER_BYTES)
        writer, windows = write(opened, image, header_last=True)
        verify(windows)
        assert content(device)[: len(IMAGE)] == bytes(HEADER_BYTES) + IMAGE[HEADER_BYTES:]
        writer.write_header()
    assert content(device)[: len(IMAGE)] == IMAGE


SECTOR = 16 << 10


class LargeSectors(BlockDevice):
    """Takes nothing but whole sectors of 16 KiB, which older kernels have no devices with."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.block_size = SECTOR

    def read_into(self, offset: int, buffer: memoryview) -> None:
        assert (offset % SECTOR, len(buffer) % SECTOR) == (0, 0)
        super().read_into(offset, buffer)

    def write(self, offset: int, data: memoryview) -> None:
        assert (offset % SECTOR, len(data) % SECTOR) == (0, 0)
        super().write(offset, data)

    def _zero(self, offset: int, length: int) -> None:
        assert (offset % SECTOR, length % SECTOR) == (0, 0)
        super()._zero(offset, length)


@pytest.mark.parametrize("zeroes_itself", [True, False])
def test_no_request_is_smaller_than_a_sector(device: str, image: Path, *, zeroes_itself: bool):
    with LargeSectors(device) as opened:
        opened.zeroes_itself = zeroes_itself
        wipe(opened, HEADER_BYTES)
        writer, windows = write(opened, image, header_last=True, skip_identical=True)
        verify(windows)
        writer.write_header()
    found = content(device)
    assert found[: len(IMAGE)] == IMAGE
    sector_end = -(-len(IMAGE) // SECTOR) * SECTOR
    assert found[sector_end:] == OLD[sector_end:]


def test_wiping_more_than_there_is(device: str):
    with BlockDevice(device) as opened:
        wipe(opened, 100 * MIB)
    assert content(device) == bytes(6 * MIB)


def test_a_read_only_device_is_named(device: str, image: Path):
    run("blockdev", "--setro", device)
    try:
        # Some kernels refuse to open it, some to write to it.
        with pytest.raises(errors.NotPermittedError, match=device), BlockDevice(device) as opened:
            write(opened, image, header_last=False)
    finally:
        # A loop device stays read-only when its file is gone.
        run("blockdev", "--setrw", device)


def test_what_is_there_already_is_not_written_again(device: str, image: Path):
    with BlockDevice(device) as opened:
        first, _ = write(opened, image, header_last=False)
    scribble(device, 3 * MIB + MIB // 2 + 5)
    with BlockDevice(device) as opened:
        second, windows = write(opened, image, header_last=False, skip_identical=True)
    assert [window.kept for window in windows] == [True, False, False, False, True]
    assert second.written == MIB // 2
    assert second.kept + second.written == first.written
    assert second.record() == first.record()
    assert content(device)[: len(IMAGE)] == IMAGE


def test_what_was_kept_is_not_read_twice(device: str, image: Path):
    with BlockDevice(device) as opened:
        write(opened, image, header_last=False)
        _, windows = write(opened, image, header_last=False, skip_identical=True)
        read_back = ReadBack(compare=True)
        assert len(list(read_back.stage(iter(windows)))) == 5
        # Only the two windows of zeros are sampled.
        assert read_back.bytes_read == 2 * 2 * 4096


def sectors_written(path: str) -> int:
    """Source: linux, Documentation/admin-guide/iostats.rst, field 7."""
    return int((Path("/sys/class/block") / Path(path).name / "stat").read_text().split()[6])


def test_zeros_are_written_only_where_there_are_none_if_the_device_makes_none_itself(device: str):
    with BlockDevice(device) as opened:
        assert opened.zeroes_itself
        opened.zero(0, 2 * MIB)
        opened.flush()
        opened.zeroes_itself = False
        before = sectors_written(device)
        opened.zero(0, 2 * MIB)
        assert sectors_written(device) == before
        # Old data behind zeros, and at once.
        scribble(device, MIB - 1)
        opened.zero(0, 3 * MIB)
        opened.flush()
        assert sectors_written(device) - before >= 2 * MIB // 512
    assert content(device) == bytes(3 * MIB) + OLD[3 * MIB :]


def test_zeros_that_did_not_reach_the_disk_are_found(tmp_path: Path):
    """As with the disk of a stopped guest: a loop device over a disk that makes no zeros, and fails at one write."""
    disks, mount = tmp_path / "disks", tmp_path / "mount"
    for path in (disks, mount):
        path.mkdir()
    (disks / "disk").write_bytes(OLD)
    size = len(OLD)
    with served(disks, mount) as faults, loop_device(mount / "disk") as disk, loop_device(Path(disk)) as device:
        faults.plan()
        assert zeroed(device, size)
        failed = 0
        # More than one request to the loop device, each of which becomes several writes.
        for event in range(1, 9):
            faults.plan()
            fill(disk, disks / "disk", OLD)
            faults.plan(event=event, name="write disk", mode="eio")
            if zeroed(device, size):
                assert (disks / "disk").read_bytes() == bytes(size), event
            else:
                failed += 1
        assert failed


def zeroed(device: str, size: int) -> bool:
    try:
        with BlockDevice(device) as opened:
            opened.zero(0, size)
            opened.flush()
            assert not opened.zeroes_itself
    except errors.DeviceError:
        return False
    return True
