"""The disk of a hostOS for GRUB to read: a vfat partition with its files, and a volume group with the slots.

No device-mapper is needed, since GRUB reads LVM itself.
"""

import os
from pathlib import Path

import pytest

from qemu_harness.volumes import make_volumes
from support.loop import run

MIB = 1 << 20
_FIRST_MIB = {"grub": 1, "lvm": 9}
GRUB_OFFSET = _FIRST_MIB["grub"] * MIB
"""Where GRUB's partition begins, in bytes."""
_GRUB_BYTES = 8 * MIB
_LVM_BYTES = 64 * MIB
_VOLUME_BYTES = 8 * MIB


def lvm_disk(directory: Path, script: Path, block: bytes) -> Path:
    """Make the disk, with a loadable kernel in both slots."""
    (directory / "block").write_bytes(block)
    grub = _empty(directory / "grub.img", _GRUB_BYTES)
    run("mkfs.vfat", grub)
    run("mcopy", "-i", grub, script, "::grub.cfg")
    run("mcopy", "-i", grub, directory / "block", "::grubenv")
    content = directory / "content"
    content.mkdir()
    for name in ("vmlinuz", "initrd.img"):
        (content / name).write_text(name)
    boot = _empty(directory / "boot.img", _VOLUME_BYTES)
    run("mke2fs", "-q", "-t", "ext4", "-d", content, boot)
    disk = _empty(directory / "disk.img", _FIRST_MIB["lvm"] * MIB + _LVM_BYTES + MIB)
    run("sgdisk", f"--new=2:{_FIRST_MIB['grub']}M:+8M", f"--new=3:{_FIRST_MIB['lvm']}M:+64M", "--typecode=3:8e00", disk)
    _put(disk, GRUB_OFFSET, grub)
    if os.geteuid() != 0:
        pytest.skip("loop devices need root")
    sizes = {f"{slot}_boot": _VOLUME_BYTES for slot in "AB"}
    for offset in make_volumes(disk, _FIRST_MIB["lvm"] * MIB, _LVM_BYTES, "hostlvm", sizes).values():
        _put(disk, offset, boot)
    return disk


def _empty(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _put(path: Path, offset: int, part: Path) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(part.read_bytes())
