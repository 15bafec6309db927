"""The shipped grub.cfg, run by GRUB's own script interpreter on a real disk image."""

import re
import subprocess
from pathlib import Path

import pytest

from support.grubemu import SHIPPED, Grub, kernel_line, started
from support.loop import run

pytestmark = [pytest.mark.grub, pytest.mark.usefixtures("each_grub")]

FIRST_SECTOR = {"grub": 2048, "A": 34816, "B": 51200}

TEXTS = {
    "boot_args": 'BOOT_ARGS_A="root=/dev/a first"\nBOOT_ARGS_B="root=/dev/b second"\n',
    "extra_boot_args": 'EXTRA_BOOT_ARGS="selinux=1"\n',
}


class Disk:
    """A disk with the partitions that GRUB reads: 2 grub, 4 A_boot, 7 B_boot."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "disk.img"
        with self.path.open("wb") as file:
            file.truncate(48 << 20)
        partitions = {2: FIRST_SECTOR["grub"], 4: FIRST_SECTOR["A"], 7: FIRST_SECTOR["B"]}
        run("sgdisk", *(f"--new={number}:{start}:+8M" for number, start in partitions.items()), self.path)
        for slot in "AB":
            self.write_slot(slot, "vmlinuz", "initrd.img", "boot_args")
        grub = directory / "grub.img"
        with grub.open("wb") as file:
            file.truncate(8 << 20)
        run("mkfs.vfat", grub)
        run("mcopy", "-i", grub, SHIPPED, "::grub.cfg")
        self._put(grub, "grub")
        self.set_block()
        self._grub = Grub(directory / "emulator", SHIPPED)

    def write_slot(self, slot: str, *files: str) -> None:
        """Make the boot file system of a slot anew, with these files."""
        content = self.directory / f"content-{slot}-{'-'.join(files)}"
        content.mkdir(exist_ok=True)
        for name in files:
            (content / name).write_text(TEXTS.get(name, name))
        image = self.directory / f"{slot}.img"
        with image.open("wb") as file:
            file.truncate(8 << 20)
        run("mke2fs", "-q", "-t", "ext4", "-d", content, image)
        self._put(image, slot)

    def void_slot(self, slot: str) -> None:
        """Leave a slot as an installation that did not finish."""
        self._write(bytes(64 << 10), slot)

    def set_block(self, **variables: str) -> None:
        """Make the environment block anew, with GRUB's own tool."""
        block = self.directory / "grubenv"
        run("grub-editenv", block, "create")
        if variables:
            run("grub-editenv", block, "set", *(f"{name}={value}" for name, value in variables.items()))
        self.put_block(block.read_bytes())

    def put_block(self, data: bytes) -> None:
        """Write the environment block as these bytes."""
        block = self.directory / "grubenv"
        block.write_bytes(data)
        run("mcopy", "-o", "-i", f"{self.path}@@{FIRST_SECTOR['grub'] * 512}", block, "::grubenv")

    def block(self) -> dict[str, str]:
        """Read the environment block as GRUB does."""
        shown = subprocess.run(
            ["grub-fstest", self.path, "cat", "(loop0,gpt2)/grubenv"], capture_output=True, check=True, timeout=60
        ).stdout.decode()
        return dict(re.findall(r"^(\w+)=(.*)$", shown, re.MULTILINE))

    def boot(self) -> tuple[str, str]:
        """Run GRUB; return the slot that it starts, and all that it said."""
        said = self._grub.start(self.path)
        return {4: "A", 7: "B"}[started(said) or 0], said

    def _put(self, image: Path, place: str) -> None:
        self._write(image.read_bytes(), place)

    def _write(self, data: bytes, place: str) -> None:
        with self.path.open("r+b") as file:
            file.seek(FIRST_SECTOR[place] * 512)
            file.write(data)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_its_syntax():
    run("grub-script-check", SHIPPED)


@pytest.mark.parametrize(
    ("before", "slot", "after"),
    [
        ((None, None), "A", ("A", "stable")),
        (("A", None), "A", ("A", "stable")),
        (("A", "install"), "A", ("A", "stable")),
        (("B", "install"), "B", ("B", "stable")),
        (("A", "stable"), "A", ("A", "stable")),
        (("B", "stable"), "B", ("B", "stable")),
        (("A", "first_boot"), "A", ("A", "failsafe_check")),
        (("B", "first_boot"), "B", ("B", "failsafe_check")),
        (("A", "failsafe_check"), "B", ("B", "stable")),
        (("B", "failsafe_check"), "A", ("A", "stable")),
    ],
)
def test_the_state_machine(disk: Disk, before: tuple[str, str], slot: str, after: tuple[str, str]):
    names = ("boot_alternative", "boot_cycle")
    disk.set_block(other="kept", **{name: value for name, value in zip(names, before, strict=True) if value})
    booted, said = disk.boot()
    assert booted == slot
    assert disk.block() == {"other": "kept", **dict(zip(names, after, strict=True))}
    arguments = {"A": "root=/dev/a first", "B": "root=/dev/b second"}[slot]
    number = {"A": "4", "B": "7"}[slot]
    kernel = f"(hd0,gpt{number})/vmlinuz {arguments} dfinity.system={slot} "
    assert " ".join(kernel_line(said)).startswith(kernel)


@pytest.mark.parametrize("missing", ["void", "vmlinuz", "initrd"])
def test_a_trial_that_cannot_be_loaded_falls_back_in_the_same_boot(disk: Disk, missing: str):
    disk.set_block(boot_alternative="B", boot_cycle="first_boot")
    match missing:
        case "void":
            disk.void_slot("B")
        case "vmlinuz":
            disk.write_slot("B", "initrd.img")
        case "initrd":
            # No initrd at all is fine for GRUB; then it is the stand-in kernel that does not start.
            disk.write_slot("B", "vmlinuz")
    assert disk.boot()[0] == "A"
    assert disk.block() == {"boot_alternative": "A", "boot_cycle": "stable"}


def test_a_trial_that_cannot_be_recorded_is_not_started(disk: Disk):
    disk.set_block(boot_alternative="B", boot_cycle="first_boot")
    block = (disk.directory / "grubenv").read_bytes()
    # With a byte behind the padding GRUB reads the block and refuses to change it.
    disk.put_block(block + b"\0")
    for _ in range(3):
        booted, said = disk.boot()
        assert booted == "A"
        assert "cannot write the environment block" in said
    assert disk.block()["boot_cycle"] == "first_boot"


def test_without_boot_args_the_root_device_is_passed(disk: Disk):
    disk.write_slot("A", "vmlinuz", "initrd.img")
    arguments = kernel_line(disk.boot()[1])[1:]
    root = "root=PARTUUID=7c0a626e-e5ea-e543-b5c5-300eb8304db7"
    assert arguments[:3] == [root, "console=ttyS0", "dfinity.system=A"]


def test_without_boot_args_the_extra_ones_of_the_slot_are_added(disk: Disk):
    disk.write_slot("A", "vmlinuz", "initrd.img", "extra_boot_args")
    assert "console=ttyS0 selinux=1" in " ".join(kernel_line(disk.boot()[1]))


@pytest.mark.parametrize("damage", [bytes(1024), b"garbage" * 100])
def test_a_damaged_block_boots_slot_a(disk: Disk, damage: bytes):
    disk.put_block(damage)
    assert disk.boot()[0] == "A"


def test_the_block_may_hold_what_grub_would_obey(disk: Disk):
    disk.set_block(boot_alternative="B", boot_cycle="stable", prefix="(hd9)/nowhere", root="hd9", disk="hd9")
    assert disk.boot()[0] == "B"
