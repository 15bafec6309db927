"""`manageboot init` as a person runs it: on this machine, on a disk that is being built, on a made-up /sys."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot import config, errors
from manageboot.cli import main
from manageboot.disk import devices
from manageboot.setup import look
from manageboot.setup.machine import Script, Unknown
from support.blocks import environment_block
from support.loop import run

LABELS = ("grub", "root-a", "root-b", "state")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk as docs/start.md makes it: GRUB's partition, two roots, and one for the records."""
    path = tmp_path / "node.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    run("sgdisk", *(f"--new={number}:0:+8M" for number in range(1, 5)), "--typecode=1:ef00", path)
    run("sgdisk", *(f"--change-name={number}:{label}" for number, label in enumerate(LABELS, 1)), path)
    return path


def init(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    status = main.run([str(argument) for argument in arguments])
    return status, *capfd.readouterr()


def test_this_machine_whatever_it_is(capfd: pytest.CaptureFixture[str]):
    status, said, complained = init(capfd, "init")
    assert (status, complained) == (0, "")
    assert "slots A and B: " in said
    assert "booted slot: " in said
    status, said, _ = init(capfd, "init", "--json")
    assert [sorted(thing) for thing in json.loads(said)["things"]] == [["name", "remedy", "state", "text"]] * 7


def test_nobodys_machine():
    """Without rights, and through the real command line."""
    command = [sys.executable, "-m", "manageboot", "init"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, user=65534, group=65534)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_configuration_that_is_bad_is_said(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "bad.toml").write_text("profile = 7\n")
    status, said, _ = init(capfd, "-c", tmp_path / "bad.toml", "init")
    assert status == 0
    assert "missing  configuration: cannot use" in said


def test_the_configuration_that_counts(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    (tmp_path / "grubenv").write_bytes(environment_block())
    (tmp_path / "cmdline").write_text("ro rauc.slot=A\n")
    (tmp_path / "m.toml").write_text(
        f'[boot]\ngrubenv = "{tmp_path}/grubenv"\ncmdline = "{tmp_path}/cmdline"\ncmdline_key = "rauc.slot"\n'
        + "".join(f'[slots.{slot}]\nboot = "/dev/no-{slot}"\nroot = "/dev/nothing-{slot}"\n' for slot in "AB")
    )
    _, said, _ = init(capfd, "-c", tmp_path / "m.toml", "init")
    assert f"found    configuration: {tmp_path}/m.toml\n" in said
    assert "found    booted slot: A, as rauc.slot on the kernel command line says\n" in said
    assert "missing  slots A and B: A_boot: /dev/no-A is not a block device; A_root: /dev/nothing-A is not" in said


def test_a_disk_that_is_being_built(capfd: pytest.CaptureFixture[str], disk: Path, tmp_path: Path):
    written = (tmp_path / "manageboot.toml", tmp_path / "grub.cfg")
    wanted = ("--write-config", written[0], "--write-grub-cfg", written[1])
    status, said, told = init(capfd, "--disk", disk, "init", *wanted)
    assert status == 0, told
    assert f"found    slots A and B: A_root {disk}@@9437184, B_root {disk}@@17825792\n" in said
    # There is no file system in it yet.
    assert "unknown  GRUB's directory: " in said
    assert told.splitlines() == [f"manageboot: {path} is written" for path in written]
    settings = config.load(str(written[0]), foreign=True)
    assert {slot: roles["root"] for slot, roles in settings.slots.items()} == {
        "A": "PARTLABEL=root-a",
        "B": "PARTLABEL=root-b",
    }
    assert settings.boot.grub_partition == "PARTLABEL=grub"
    assert "set part_A=gpt2\nset part_B=gpt3\n" in written[1].read_text()
    status, _, told = init(capfd, "--disk", disk, "init", *wanted)
    assert (status, told.splitlines()[0].rpartition(" ")[2]) == (73, "[CANNOT_CREATE]")
    status, _, told = init(capfd, "--disk", disk, "init", "--replace", *wanted)
    assert (status, (tmp_path / "grub.cfg.old").read_text()) == (0, written[1].read_text())


def test_a_directory_that_is_missing_is_made_and_what_was_written_is_told(
    capfd: pytest.CaptureFixture[str], disk: Path, tmp_path: Path
):
    script, there = tmp_path / "new" / "deep" / "grub.cfg", tmp_path / "m.toml"
    status, _, told = init(capfd, "--disk", disk, "init", "--write-grub-cfg", script)
    assert (status, told, script.exists()) == (0, f"manageboot: {script} is written\n", True)
    # The second file can't be made, and the first one is there.
    script = there / "grub.cfg"
    wanted = ("--write-config", there, "--write-grub-cfg", script)
    status, said, told = init(capfd, "--disk", disk, "init", "--json", *wanted)
    assert (status, told.splitlines()[0]) == (73, f"manageboot: {there} is written")
    assert json.loads(said)["written"] == [str(there)]


def test_what_was_found_comes_before_what_is_written(disk: Path, tmp_path: Path):
    """As on a terminal, which shows both."""
    command = [sys.executable, "-m", "manageboot", "--disk", disk, "init", "--write-config", tmp_path / "m.toml"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, timeout=60)
    ends = ("2 of 3 things are there\n", f"manageboot: {tmp_path}/m.toml is written\n")
    assert done.stdout.endswith("".join(ends))


@pytest.mark.grub
def test_grub_takes_what_is_written_and_the_block_is_read(
    capfd: pytest.CaptureFixture[str], disk: Path, tmp_path: Path
):
    run("mkfs.vfat", "--offset", "2048", disk, str(8 << 10))
    run("grub-editenv", tmp_path / "grubenv", "create")
    run("grub-editenv", tmp_path / "grubenv", "set", "boot_alternative=B", "boot_cycle=stable")
    run("mcopy", "-i", f"{disk}@@1048576", tmp_path / "grubenv", "::grubenv")
    _, said, _ = init(capfd, "--disk", disk, "init", "--write-grub-cfg", tmp_path / "grub.cfg")
    assert f"found    GRUB's directory: {disk}@@1048576, whose environment block says boot_alternative=B" in said
    assert said.endswith("3 of 3 things are there\n")
    run("grub-script-check", tmp_path / "grub.cfg")


@pytest.mark.parametrize(
    "arguments", [("--disk", "/x", "init", "--write-config"), ("init", "--replace"), ("init", "extra")]
)
def test_wrong_usage(capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]):
    assert init(capfd, *arguments)[0] == 2


def test_partitions_and_volumes_without_udev(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    block = tmp_path / "block"
    for name, number, attributes in (
        ("vda", "254:0", {}),
        ("vda3", "254:3", {"partition": "3", "uevent": "DEVTYPE=partition\nPARTUUID=AB-CD\nPARTNAME=root-a\n"}),
        ("dm-0", "253:0", {"dm/name": "my--group-a--b", "dm/uuid": "LVM-x"}),
        ("dm-1", "253:1", {"dm/name": "my--group-x", "dm/uuid": "CRYPT-x"}),
    ):
        for attribute, text in {"uevent": "", "dev": number, **attributes}.items():
            (block / name / attribute).parent.mkdir(parents=True, exist_ok=True)
            (block / name / attribute).write_text(text)
    monkeypatch.setattr("manageboot.disk.sysfs.NAMES", str(block))
    monkeypatch.setattr(devices, "_UDEV_DATABASE", str(tmp_path / "there-is-no-udev"))
    monkeypatch.setattr(devices, "_disks", lambda _device: {"vda"})
    volume, partition = devices.listed()
    assert (volume.volume, volume.place, volume.partition) == ("my-group/a-b", "my-group", 0)
    assert (partition.label, partition.uuid, partition.place, partition.partition) == ("root-a", "ab-cd", "vda", 3)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (None, Script.ABSENT),
        ("# It was automatically generated by grub-mkconfig", Script.STOCK),
        ("if [ $boot_cycle = stable ]; then x $boot_alternative; fi", Script.PROTOCOL),
        ("linux /vmlinuz", Script.OTHER),
    ],
)
def test_whose_grub_cfg_it_is(script: str | None, expected: Script, tmp_path: Path):
    (tmp_path / "grubenv").write_bytes(environment_block())
    if script is not None:
        (tmp_path / "grub.cfg").write_text(script)
    (tmp_path / "m.toml").write_text(
        f'[boot]\ngrubenv = "{tmp_path}/grubenv"\n'
        + "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    )
    found = look.at_this_machine(config.load(str(tmp_path / "m.toml")), "m.toml").grub
    assert found is not None
    assert (found.path, found.script, found.settled) == (str(tmp_path), expected, True)
    assert not isinstance(found.block, Unknown)


def test_a_disk_that_is_none(tmp_path: Path):
    with pytest.raises(errors.DeviceMissingError):
        look.at_disk(str(tmp_path / "nothing"))
    (tmp_path / "zeros").write_bytes(bytes(1 << 20))
    with pytest.raises(errors.PartitionTableError):
        look.at_disk(str(tmp_path / "zeros"))
