"""The disk of a stopped guest is not touched while somebody else has it, or what lies below or beside it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from manageboot import bootloader
from manageboot.disk import layers
from qemu_harness.layout import GUESTOS
from support.images import MIB
from support.loop import loop_device, run
from support.partition import partition
from support.stoppedguest import BOOT_BYTES, StoppedGuest

pytestmark = [pytest.mark.devices, pytest.mark.grub]

Use = Callable[[StoppedGuest], AbstractContextManager[None]]
"""Something that has the disk for a while."""


@pytest.fixture
def guest(tmp_path: Path) -> StoppedGuest:
    return StoppedGuest(tmp_path, Path(bootloader.__file__).with_name("grub.cfg"))


@contextmanager
def mounted(guest: StoppedGuest) -> Iterator[None]:
    guest.overwrite("A_boot", (guest.update("1").parent / "boot.img").read_bytes())
    point = guest.directory / "point"
    point.mkdir()
    with loop_device(guest.disk, offset=GUESTOS.offset("A_boot"), size=BOOT_BYTES) as device:
        run("mount", "-o", "ro", device, point)
        try:
            yield
        finally:
            run("umount", point)


@contextmanager
def open_in_qemu(guest: StoppedGuest, image: Path | None = None) -> Iterator[None]:
    """QEMU's own block layer, which locks an image as the machine does."""
    command = ["qemu-io", "-f", "raw", str(image or guest.disk)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdin.write("length\n")
        process.stdin.flush()
        assert process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


@contextmanager
def open_for_writing(guest: StoppedGuest, path: Path | None = None) -> Iterator[None]:
    code = f"import sys; file = open({str(path or guest.disk)!r}, 'r+b'); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (mounted, "is attached to it"),
        (open_in_qemu, "such as QEMU, holds a lock on it"),
        (open_for_writing, "has it open for writing"),
    ],
)
def test_a_disk_in_use_is_refused(guest: StoppedGuest, use: Use, said: str):
    before = guest.get("grubenv")
    update = guest.update("2")
    with use(guest):
        for arguments in (("doctor",), ("upgrade-install", update), ("upgrade-cancel",)):
            assert said in guest.fails(*arguments, status=69, code="DEVICE_BUSY")
        assert said in guest.status()["disk_user"]
    assert guest.get("grubenv") == before
    assert not any(guest.part("B_boot", 4096))
    guest.ok("doctor")


@contextmanager
def loop_of_another_namespace(guest: StoppedGuest) -> Iterator[None]:
    """Its path of the image leads nowhere here."""
    point = guest.directory / "elsewhere"
    point.mkdir()
    script = (
        'mount -t tmpfs none "$1" && mkdir "$1/in" && mount --bind "$0" "$1/in" && losetup -f --show "$1/in/disk.img"'
    )
    device = run("unshare", "--mount", "sh", "-c", script, guest.directory, point)
    try:
        yield
    finally:
        run("losetup", "--detach", device)


@contextmanager
def through_a_loop_device(guest: StoppedGuest) -> Iterator[None]:
    """A whole device: what is used of it is what lies below."""
    with loop_device(guest.disk) as device:
        image, guest.disk = guest.disk, Path(device)
        try:
            with open_in_qemu(guest, image):
                yield
        finally:
            guest.disk = image


@contextmanager
def through_a_loop_device_of_two(guest: StoppedGuest) -> Iterator[None]:
    with loop_device(guest.disk) as device, loop_device(guest.disk):
        image, guest.disk = guest.disk, Path(device)
        try:
            yield
        finally:
            guest.disk = image


@contextmanager
def part(guest: StoppedGuest) -> Iterator[Path]:
    """A partition that the kernel knows, of a device that the guest's disk is now."""
    start = GUESTOS.offset("B_boot")
    with (
        loop_device(guest.disk) as device,
        partition(device, 7, guest.directory / "partition", start=start, size=BOOT_BYTES) as node,
    ):
        image, guest.disk = guest.disk, Path(device)
        try:
            yield node
        finally:
            guest.disk = image


@contextmanager
def partition_open(guest: StoppedGuest) -> Iterator[None]:
    with part(guest) as node, open_for_writing(guest, node):
        yield


@contextmanager
def partition_attached(guest: StoppedGuest) -> Iterator[None]:
    with part(guest) as node, loop_device(node):
        yield


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (loop_of_another_namespace, "is attached to it"),
        (through_a_loop_device, "such as QEMU, holds a lock on it"),
        (through_a_loop_device_of_two, "disk.img, below it"),
        (partition_open, "has it open for writing"),
        (partition_attached, "is attached to it"),
    ],
)
def test_what_lies_below_and_beside_counts(guest: StoppedGuest, use: Use, said: str):
    update = guest.update("2")
    with use(guest):
        for arguments in (("doctor",), ("upgrade-install", update)):
            assert said in guest.fails(*arguments, status=69, code="DEVICE_BUSY")
        assert said in guest.status()["disk_user"]
    assert not any(guest.part("B_boot", 4096))
    guest.ok("doctor")


def test_a_volume_lies_on_its_slaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As the kernel shows a volume of device-mapper, on a device whose image somebody has."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(MIB))
    with loop_device(image) as below, loop_device(image) as volume:
        numbers = {path: os.stat(path).st_rdev for path in (below, volume)}
        shown = {path: f"{os.major(number)}:{os.minor(number)}" for path, number in numbers.items()}
        (tmp_path / "block").mkdir()
        (tmp_path / "block" / shown[below]).symlink_to(os.path.realpath(f"/sys/dev/block/{shown[below]}"))
        slave = tmp_path / "block" / shown[volume] / "slaves"
        slave.mkdir(parents=True)
        (slave / Path(below).name).symlink_to(os.path.realpath(f"/sys/dev/block/{shown[below]}"))
        monkeypatch.setattr("manageboot.disk.sysfs.NUMBERS", str(tmp_path / "block"))
        found = list(layers.layers(volume, os.stat(volume)))
    assert [(one.path, one.exclusive) for one in found] == [(volume, True), (below, False), (str(image), False)]
