"""GRUB for a BIOS: its first sector in the master boot record, the rest in a partition of its own.

GRUB's own `grub-bios-setup` needs the disk to be one of the host's, so its two patches are made here: each of the first
two sectors learns where the next one lies.
"""

import struct
import tempfile
from pathlib import Path

from qemu_harness.grubtools import GrubTools
from qemu_harness.layout import GUESTOS, SECTOR_SIZE
from qemu_harness.process import HarnessError, run

TARGET = "i386-pc"
# Between the partition table and the first partition, where installers put it as well. Its number comes last, so that
# all the others have the numbers that they have for UEFI.
NUMBER = len(GUESTOS.partitions) + 1
BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"
FIRST_SECTOR = 34
LAST_SECTOR = 2047
# The code of the boot record; behind it the partition table of old begins.
BOOT_CODE_BYTES = 440
# Places in GRUB's boot.img and diskboot.img: include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/diskboot.S.
NEXT_SECTOR_OFFSET = 0x5C
BLOCK_LIST_OFFSET = SECTOR_SIZE - 12


def make_bios_bootable(disk: Path, grub: GrubTools, prefix: str, modules: tuple[str, ...]) -> None:
    """Let a BIOS start GRUB from a disk that has its partitions already.

    Args:
        disk: the raw image.
        grub: the GRUB that it gets.
        prefix: where GRUB finds its configuration.
        modules: what the loader carries, beside the driver of the BIOS's disks.
    """
    run([
        "sgdisk", "--set-alignment=1", f"--new={NUMBER}:{FIRST_SECTOR}:{LAST_SECTOR}",
        f"--change-name={NUMBER}:bios", f"--typecode={NUMBER}:{BIOS_BOOT}", disk,
    ])  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "core.img")
        grub.make_image(image, TARGET, prefix, ("biosdisk", *modules))
        core = bytearray(image.read_bytes())
    room = (LAST_SECTOR + 1 - FIRST_SECTOR) * SECTOR_SIZE
    if len(core) > room:
        raise HarnessError(f"GRUB's image of {len(core)} bytes does not fit into {room}")
    boot = bytearray((grub.modules(TARGET) / "boot.img").read_bytes())
    struct.pack_into("<Q", boot, NEXT_SECTOR_OFFSET, FIRST_SECTOR)
    struct.pack_into("<Q", core, BLOCK_LIST_OFFSET, FIRST_SECTOR + 1)
    with disk.open("r+b") as file:
        file.write(boot[:BOOT_CODE_BYTES])
        file.seek(FIRST_SECTOR * SECTOR_SIZE)
        file.write(core)
