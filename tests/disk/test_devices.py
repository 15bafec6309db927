"""Finding devices by their names, in a sysfs made for the test."""

import errno
import os
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import pyudev

from manageboot import errors
from manageboot.disk import devices
from manageboot.system import console
from support.loop import loop_device

UUID = "ddf618fe-7244-b446-a175-3296e6b9d02e"


@pytest.fixture
def sysfs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without udev."""
    directory = tmp_path / "block"
    directory.mkdir()
    monkeypatch.setattr("manageboot.disk.sysfs.NAMES", str(directory))
    monkeypatch.setattr(devices, "_UDEV_DATABASE", str(tmp_path / "there-is-no-udev"))
    return directory


def add_partition(sysfs: Path, name: str, *, uuid: str, label: str) -> None:
    (sysfs / name).mkdir()
    text = f"MAJOR=254\nMINOR=4\nDEVNAME={name}\nDEVTYPE=partition\nPARTUUID={uuid}\nPARTNAME={label}\n"
    (sysfs / name / "uevent").write_text(text)
    (sysfs / name / "dev").write_text("254:4\n")


def add_mapping(sysfs: Path, name: str, mapped: str, uuid: str) -> None:
    (sysfs / name / "dm").mkdir(parents=True)
    (sysfs / name / "dm" / "name").write_text(f"{mapped}\n")
    (sysfs / name / "dm" / "uuid").write_text(f"{uuid}\n")


def test_a_path_is_itself():
    assert devices.find("/dev/there-is-no-such-device") == "/dev/there-is-no-such-device"


@pytest.mark.parametrize("spec", [f"PARTUUID={UUID}", f"PARTUUID={UUID.upper()}", "PARTLABEL=A boot"])
def test_partitions_without_udev(sysfs: Path, spec: str):
    add_partition(sysfs, "vda4", uuid=UUID, label="A boot")
    add_partition(sysfs, "vda5", uuid=UUID.replace("d", "e"), label="A_root")
    assert devices.find(spec) == "/dev/vda4"


def test_debug_shows_which_device_it_is_and_why(sysfs: Path, monkeypatch: pytest.MonkeyPatch):
    shown: list[str] = []
    monkeypatch.setattr(console, "debug", lambda text, *values: shown.append(text % values))
    add_partition(sysfs, "vdx4", uuid=UUID, label="A_boot")
    devices.find("PARTLABEL=A_boot")
    add_partition(sysfs, "vdy4", uuid=UUID, label="A_boot")
    monkeypatch.setattr(devices, "_disks", lambda _device: {"vdy"})
    monkeypatch.setattr(devices, "_disks_of", lambda name: {name[:3]})
    devices.find(f"PARTUUID={UUID}")
    assert shown == [
        "device: PARTLABEL=A_boot is vdx4: no other bears it",
        f"device: PARTUUID={UUID} is vdy4: of the 2 that bear it, it is on the booted disk",
    ]


def test_labels_are_not_folded(sysfs: Path):
    add_partition(sysfs, "vda4", uuid=UUID, label="A_boot")
    with pytest.raises(errors.DeviceMissingError, match="cannot find PARTLABEL=a_boot: no block device has it"):
        devices.find("PARTLABEL=a_boot")


def test_logical_volumes(sysfs: Path):
    add_mapping(sysfs, "dm-0", "hostlvm-A_root", "LVM-xyz")
    add_mapping(sysfs, "dm-1", "my--group-a--b", "LVM-xyz")
    add_mapping(sysfs, "dm-2", "hostlvm-B_root", "CRYPT-LUKS2-xyz")
    assert devices.find("LV=hostlvm/A_root") == "/dev/dm-0"
    assert devices.find("LV=my-group/a-b") == "/dev/dm-1"
    with pytest.raises(errors.DeviceMissingError):
        devices.find("LV=hostlvm/B_root")


def test_two_disks_with_the_same_identifiers_are_refused(sysfs: Path):
    add_partition(sysfs, "vdx4", uuid=UUID, label="A_boot")
    add_partition(sysfs, "vdy4", uuid=UUID, label="A_boot")
    with pytest.raises(errors.DeviceAmbiguousError) as caught:
        devices.find(f"PARTUUID={UUID}")
    assert caught.value.exit_code == 69


def test_of_two_disks_the_booted_one_is_taken(sysfs: Path, monkeypatch: pytest.MonkeyPatch):
    add_partition(sysfs, "vdx4", uuid=UUID, label="A_boot")
    add_partition(sysfs, "vdy4", uuid=UUID, label="A_boot")
    monkeypatch.setattr(devices, "_disks", lambda _device: {"vdy"})
    monkeypatch.setattr(devices, "_disks_of", lambda name: {name[:3]})
    assert devices.find(f"PARTUUID={UUID}") == "/dev/vdy4"


def test_a_slot_is_not_put_together_from_two_disks(sysfs: Path, monkeypatch: pytest.MonkeyPatch):
    for name, label in (("vdx4", "B_boot"), ("vdx5", "B_root"), ("vdy6", "B_var")):
        add_partition(sysfs, name, uuid=UUID, label=label)
    monkeypatch.setattr(devices, "_disks_of", lambda name: {name[:3]})
    whole = {"boot": "PARTLABEL=B_boot", "root": "PARTLABEL=B_root", "data": "/dev/vdz1"}
    assert devices.find_together(whole) == {"boot": "/dev/vdx4", "root": "/dev/vdx5", "data": "/dev/vdz1"}
    with pytest.raises(errors.DevicesScatteredError) as caught:
        devices.find_together({**whole, "var": "PARTLABEL=B_var"})
    assert str(caught.value) == (
        "cannot use PARTLABEL=B_boot and PARTLABEL=B_var together: they are on disk vdx and on disk vdy"
    )
    assert caught.value.exit_code == 69


def test_a_slot_is_not_put_together_from_two_volume_groups(sysfs: Path):
    mine, other = "A" * 32, "B" * 32
    add_mapping(sysfs, "dm-0", "hostlvm-B_boot", f"LVM-{mine}{'1' * 32}")
    add_mapping(sysfs, "dm-1", "hostlvm-B_root", f"LVM-{mine}{'2' * 32}")
    add_mapping(sysfs, "dm-2", "hostlvm-B_var", f"LVM-{other}{'3' * 32}")
    add_partition(sysfs, "vda7", uuid=UUID, label="B_esp")
    specs = {"boot": "LV=hostlvm/B_boot", "root": "LV=hostlvm/B_root", "esp": "PARTLABEL=B_esp"}
    assert devices.find_together(specs) == {"boot": "/dev/dm-0", "root": "/dev/dm-1", "esp": "/dev/vda7"}
    with pytest.raises(errors.DevicesScatteredError, match=f"are on volume group {mine} and on volume group {other}"):
        devices.find_together({**specs, "var": "LV=hostlvm/B_var"})


def test_a_device_that_goes_between_two_looks_is_not_there(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(devices, "device_number", lambda _: os.makedev(254, 4))
    monkeypatch.setattr("manageboot.disk.sysfs.attribute", lambda _directory, _name: None)
    assert devices.failure("/dev/vda4") == "it is not there"
    assert devices.size("/dev/vda4") is None


def test_a_disk_that_goes_between_two_looks_bears_nothing(sysfs: Path):
    add_partition(sysfs, "vda4", uuid=UUID, label="A_boot")
    add_partition(sysfs, "vdb4", uuid=UUID, label="A_boot")
    for name in ("vda4", "vdb4"):
        (sysfs / name / "dev").unlink()
    with pytest.raises(errors.DeviceAmbiguousError):
        devices.find(f"PARTUUID={UUID}")


def test_what_can_not_be_read_is_not_absent(sysfs: Path):
    add_partition(sysfs, "vda4", uuid=UUID, label="A_boot")
    (sysfs / "vda5" / "uevent").mkdir(parents=True)
    with pytest.raises(errors.DevicesUnknownError, match=f"cannot read {sysfs}/vda5/uevent: Is a directory"):
        devices.find("PARTLABEL=A_boot")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOSPC])
def test_an_attribute_that_fails_says_nothing_of_the_device(monkeypatch: pytest.MonkeyPatch, number: int):
    def fail(directory: str, name: str) -> None:
        raise OSError(number, os.strerror(number), f"{directory}/{name}")

    monkeypatch.setattr(devices, "device_number", lambda _: os.makedev(254, 4))
    monkeypatch.setattr("manageboot.disk.sysfs.attribute", fail)
    with pytest.raises(errors.DevicesUnknownError, match="cannot read /sys"):
        devices.size("/dev/vda4")


def test_logical_volumes_are_asked_of_udev(sysfs: Path, monkeypatch: pytest.MonkeyPatch):
    class Device:
        sys_name = "dm-7"
        properties: ClassVar = {"DM_NAME": "hostlvm-A_root", "DM_UUID": "LVM-xyz"}

    class Context:
        def list_devices(self, subsystem: str) -> list[type[Device]]:
            return [Device] if subsystem == "block" else []

    monkeypatch.setattr(devices, "_UDEV_DATABASE", str(sysfs))
    monkeypatch.setattr(pyudev, "Context", Context)
    assert devices.find("LV=hostlvm/A_root") == "/dev/dm-7"


def test_udev_properties_are_decoded(monkeypatch: pytest.MonkeyPatch):
    assert devices._decode(r"A\x20boot\x2f") == "A boot/"
    assert devices._decode("plain") == "plain"


def test_the_disk_of_the_root_file_system_is_a_disk_of_this_machine():
    for disk in devices._disks(os.stat("/").st_dev):
        assert os.path.exists(f"/sys/block/{disk}")


@pytest.mark.devices
def test_a_plain_device_lies_on_nothing_else(tmp_path: Path):
    file = tmp_path / "disk"
    file.write_bytes(bytes(1 << 20))
    with loop_device(file) as path:
        number = devices.device_number(path)
        assert devices.layers(number) == {number}


def test_a_uuid_that_neither_udev_nor_the_kernel_tells_is_unknown(sysfs: Path):
    add_partition(sysfs, "vda4", uuid=UUID, label="A_boot")
    uevent = sysfs / "vda4" / "uevent"
    uevent.write_text(uevent.read_text().replace(f"PARTUUID={UUID}\n", ""))
    with pytest.raises(errors.DevicesUnknownError, match=f"cannot find PARTUUID={UUID}: udev does not run"):
        devices.find(f"PARTUUID={UUID}")
    assert devices.find("PARTLABEL=A_boot") == "/dev/vda4"
    add_partition(sysfs, "vda5", uuid=UUID.replace("d", "e"), label="A_root")
    with pytest.raises(errors.DeviceMissingError):
        devices.find(f"PARTUUID={UUID}")


class Properties(dict[str, bytes]):
    """What pyudev makes of properties: text by the encoding of file names, or an error."""

    def get(self, key: str, default: str = "") -> str:  # type: ignore[override]  # as pyudev's, of bytes it makes text
        return str(self[key], sys.getfilesystemencoding()) if key in self else default


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "iso-8859-1"])
def test_udev_is_understood_whatever_the_locale_is(encoding: str, sysfs: Path, monkeypatch: pytest.MonkeyPatch):
    class Device:
        def __init__(self, name: str, **properties: bytes) -> None:
            self.sys_name = name
            self.properties = Properties(properties)

    found = [
        Device("sda", ID_SERIAL=b"\xff\xfe", ID_PART_ENTRY_NAME=b"\xff"),
        Device("sda1", ID_PART_ENTRY_NAME="größe".encode(), ID_MODEL=b"\xff"),
        Device("sda2", ID_PART_ENTRY_NAME=rb"\xff\x20b"),
        Device("sda3", ID_PART_ENTRY_NAME="ÿ".encode()),
    ]

    class Context:
        def list_devices(self, subsystem: str) -> list[Device]:
            return found if subsystem == "block" else []

    monkeypatch.setattr(devices, "_UDEV_DATABASE", str(sysfs))
    monkeypatch.setattr(pyudev, "Context", Context)
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    assert devices.find("PARTLABEL=größe") == "/dev/sda1"
    # A byte that is no text is not the character that Latin-1 has for it.
    assert devices.find("PARTLABEL=ÿ") == "/dev/sda3"
    with pytest.raises(errors.DeviceMissingError):
        devices.find("PARTLABEL=ÿ b")
