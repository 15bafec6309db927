"""What the firmware and GRUB read: the EFI system partition and the GRUB partition."""

import shutil
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qemu_harness import layout
from qemu_harness.cache import REPOSITORY
from qemu_harness.filesystem import make_ext4, make_fat
from qemu_harness.grubtools import GrubTools

GRUB_CFG = REPOSITORY / "manageboot" / "bootloader" / "grub.cfg"
# As on a real node, GRUB finds its configuration on the second partition of the disk that it came from.
PREFIX = "(,gpt2)/"
# The loader carries what it needs to boot; any other module is found on the GRUB partition, as on a real node.
TARGET = "x86_64-efi"
MODULES = (
    *("part_gpt", "fat", "ext2", "lvm"),
    *("normal", "configfile", "test", "regexp", "true", "echo", "sleep", "probe", "search"),
    *("loadenv", "linux", "boot", "reboot", "halt"),
    *("serial", "terminal", "cat", "ls", "minicmd"),
)


@dataclass(frozen=True)
class GrubPartition:
    """What GRUB's own partition has, where it is not that of a node of IC-OS."""

    script: Path = GRUB_CFG
    """The grub.cfg."""
    kind: str = "vfat"
    """Its file system: vfat or ext4."""


SHIPPED = GrubPartition()
UEFI_MODULES = (*MODULES, "all_video")


def make_esp(image: Path, grub: GrubTools) -> None:
    """Make the EFI system partition, with GRUB as the loader that firmware starts when it knows no other."""
    with tempfile.TemporaryDirectory() as scratch:
        loader = Path(scratch, "BOOTX64.EFI")
        grub.make_image(loader, TARGET, PREFIX, UEFI_MODULES)
        make_fat(
            image,
            layout.ESP_SIZE,
            label="ESP",
            serial="4d420001",
            directories=("EFI", "EFI/BOOT"),
            files={"EFI/BOOT/BOOTX64.EFI": loader},
        )


def make_grub_partition(
    image: Path, variables: Mapping[str, str], grub: GrubTools, target: str, partition: GrubPartition
) -> None:
    """Make the GRUB partition, with a grub.cfg, an environment block and GRUB's modules.

    Args:
        variables: what the block holds; a node that has never booted has none.
        grub: whose block and modules it has.
        target: the platform of the modules.
        partition: its script and file system.
    """
    with tempfile.TemporaryDirectory() as scratch:
        block = Path(scratch, "grubenv")
        grub.make_block(block, variables)
        files = {"grub.cfg": partition.script, "grubenv": block, target: grub.modules(target)}
        if partition.kind == "ext4":
            content = Path(scratch, "content")
            content.mkdir()
            for name, source in files.items():
                copy = shutil.copytree if source.is_dir() else shutil.copyfile
                copy(source, content / name)
            identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, "manageboot:grub"))
            make_ext4(image, layout.GRUB_SIZE, label="GRUB", uuid=identifier, content=content)
        else:
            make_fat(image, layout.GRUB_SIZE, label="GRUB", serial="4d420002", directories=(), files=files)
