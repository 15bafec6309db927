"""What sysfs tells, in one made for the test: what is not there, and what can't be read, are two things."""

import os
from pathlib import Path

import pytest

from manageboot.disk import sysfs
from support.loop import loop_device


@pytest.fixture
def disk(tmp_path: Path) -> str:
    """A disk of one partition, which lies on another device."""
    directory = tmp_path / "vda"
    for name in ("vda1", "queue", "slaves/sdb"):
        (directory / name).mkdir(parents=True)
    (directory / "dev").write_text("254:0\n")
    (directory / "size").write_text("2048\n")
    (directory / "uevent").write_bytes(b"PARTNAME= gr\xc3\xb6\xff\r \n")
    (directory / "vda1" / "partition").write_text("1\n")
    return str(directory)


def test_attributes(disk: str):
    assert sysfs.attribute(disk, "uevent") == "PARTNAME= grö\udcff\r "
    assert sysfs.attribute(disk, "ro") is None
    assert sysfs.attribute(f"{disk}/gone", "ro") is None
    assert sysfs.attribute(disk, "size/ro") is None
    assert (sysfs.integer(disk, "size"), sysfs.integer(disk, "ro"), sysfs.integer(disk, "uevent")) == (2048, 0, 0)
    with pytest.raises(IsADirectoryError):
        sysfs.attribute(disk, "queue")


def test_what_can_be_opened_but_not_read_is_named():
    with pytest.raises(OSError, match="'/proc/self/mem'"):
        sysfs.attribute("/proc/self", "mem")


def test_devices_beside(disk: str):
    assert sysfs.number(disk) == os.makedev(254, 0)
    assert sysfs.number(f"{disk}/gone") is None
    assert sysfs.partitions(disk) == [f"{disk}/vda1"]
    assert (sysfs.is_partition(disk), sysfs.is_partition(f"{disk}/vda1")) == (False, True)
    assert sysfs.slaves(disk) == [f"{disk}/slaves/sdb"]
    assert (sysfs.holders(disk), sysfs.partitions(f"{disk}/gone")) == ([], [])


def test_a_slash_in_a_name_is_an_exclamation_mark_there():
    assert sysfs.node("/sys/class/block/cciss!c0d0") == "/dev/cciss/c0d0"


@pytest.mark.devices
def test_a_device_of_this_machine(tmp_path: Path):
    file = tmp_path / "disk"
    file.write_bytes(bytes(1 << 20))
    with loop_device(file) as path:
        number = os.stat(path).st_rdev
        directory = sysfs.numbered(number)
        assert (sysfs.node(directory), sysfs.number(directory)) == (path, number)
        assert sysfs.integer(directory, "size") * sysfs.SECTOR_BYTES == 1 << 20
        assert os.path.basename(path) in sysfs.names()
        assert sysfs.attribute(directory, "loop/backing_file") == str(file)
