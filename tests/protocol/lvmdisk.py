"""The disk of a hostOS for GRUB to read: a vfat partition with its files, and a volume group with the slots.

The machine's LVM tools make the volume group on a loop device; no device-mapper is needed, since GRUB reads LVM itself.
"""

import subprocess
from pathlib import Path

from support.loop import loop_device, run

MIB = 1 << 20
_EXTENT_BYTES = 4 * MIB
_FIRST_MIB = {"grub": 1, "lvm": 9}
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
    volumes = _empty(directory / "lvm.img", _LVM_BYTES)
    for offset in _make_volumes(directory, volumes):
        _put(volumes, offset, boot)
    disk = _empty(directory / "disk.img", _FIRST_MIB["lvm"] * MIB + _LVM_BYTES + MIB)
    run("sgdisk", f"--new=2:{_FIRST_MIB['grub']}M:+8M", f"--new=3:{_FIRST_MIB['lvm']}M:+64M", "--typecode=3:8e00", disk)
    _put(disk, _FIRST_MIB["grub"] * MIB, grub)
    _put(disk, _FIRST_MIB["lvm"] * MIB, volumes)
    return disk


def _make_volumes(directory: Path, image: Path) -> list[int]:
    """Make the boot volumes of both slots; return where they begin, in bytes."""
    with loop_device(image) as device:
        _lvm(directory, "pvcreate", device)
        _lvm(directory, "vgcreate", "--physicalextentsize", "4M", "hostlvm", device)
        for slot in "AB":
            _lvm(directory, "lvcreate", "-an", "-Zn", "-Wn", "-L", "8M", "-n", f"{slot}_boot", "hostlvm")
        start = int(_lvm(directory, "pvs", "--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start", device))
        ranges = _lvm(directory, "lvs", "--noheadings", "-o", "seg_pe_ranges", "hostlvm").split()
    return [start + int(extents.rpartition(":")[2].split("-")[0]) * _EXTENT_BYTES for extents in ranges]


def _lvm(directory: Path, verb: str, *arguments: str) -> str:
    done = subprocess.run(
        ["lvm", verb, "--driverloaded", "n", *arguments],
        env={"LVM_SYSTEM_DIR": str(directory), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _empty(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def _put(path: Path, offset: int, part: Path) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(part.read_bytes())
