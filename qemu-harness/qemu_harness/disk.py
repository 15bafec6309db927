"""The disk of a node as it leaves the factory: slot A holds a system, slot B is empty."""

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from qemu_harness import biosloader, layout, loader
from qemu_harness.cache import Cache, content_key
from qemu_harness.filesystem import copy_into, make_ext4
from qemu_harness.firmware import Firmware
from qemu_harness.process import run
from qemu_harness.slot import SlotImages

FACTORY_BLOCK: Mapping[str, str] = {}


def build_disk(
    cache: Cache,
    images: SlotImages,
    variables: Mapping[str, str] = FACTORY_BLOCK,
    *,
    passive: SlotImages | None = None,
    firmware: Firmware = Firmware.UEFI,
) -> Path:
    """Give a raw disk image with a version of the node in slot A.

    Args:
        variables: the environment block; by default that of a node that has never booted.
        passive: what slot B holds; by default nothing.
        firmware: what starts GRUB.
    """
    sources = (Path(__file__), Path(layout.__file__), Path(loader.__file__), Path(biosloader.__file__), loader.GRUB_CFG)
    # The directory of the images is named after their content.
    names = [images.root.parent.name, passive.root.parent.name if passive else "", firmware.name]
    key = content_key(*names, repr(sorted(variables.items())), *sources)

    def build(directory: Path) -> None:
        disk = directory / "disk.img"
        _build(disk, images, variables, firmware)
        if passive:
            copy_into(passive.boot, disk, layout.offset("B_boot"))
            copy_into(passive.root, disk, layout.offset("B_root"))

    return cache.entry("disk", key, build) / "disk.img"


def _build(disk: Path, images: SlotImages, variables: Mapping[str, str], firmware: Firmware) -> None:
    partition_disk(disk)
    bios = firmware is Firmware.BIOS
    if bios:
        biosloader.make_bios_bootable(disk, loader.PREFIX, loader.MODULES)
    with tempfile.TemporaryDirectory(dir=disk.parent) as scratch:
        esp, grub, config = (Path(scratch, name) for name in ("esp", "grub", "config"))
        loader.make_esp(esp)
        loader.make_grub_partition(grub, variables, (biosloader if bios else loader).MODULE_DIRECTORY)
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, "manageboot:config"))
        make_ext4(config, layout.partition("config").size, label="config", uuid=identifier)
        content = {"esp": esp, "grub": grub, "config": config, "A_boot": images.boot, "A_root": images.root}
        for name, image in content.items():
            copy_into(image, disk, layout.offset(name))


def partition_disk(disk: Path) -> None:
    """Make an empty disk with the partitions of the layout."""
    with disk.open("xb") as file:
        file.truncate(layout.DISK_SIZE)
    argv = ["sgdisk", "--set-alignment=1", f"--disk-guid={layout.DISK_GUID}"]
    for number, partition in enumerate(layout.PARTITIONS, 1):
        first = layout.offset(partition.name) // layout.SECTOR_SIZE
        last = first + partition.size // layout.SECTOR_SIZE - 1
        argv.append(f"--new={number}:{first}:{last}")
        argv.append(f"--change-name={number}:{partition.name}")
        argv.append(f"--typecode={number}:{partition.type_guid}")
        argv.append(f"--partition-guid={number}:{partition.partuuid}")
    run([*argv, disk])
