"""The disk of a node as it leaves the factory: slot A holds a system, slot B is empty."""

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from qemu_harness import biosloader, grubtools, layout, loader, volumes
from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release
from qemu_harness.filesystem import copy_into, make_ext4
from qemu_harness.firmware import Firmware
from qemu_harness.grubtools import GrubTools
from qemu_harness.layout import GUESTOS, Layout
from qemu_harness.loader import SHIPPED, GrubPartition
from qemu_harness.process import run
from qemu_harness.slot import SlotImages

FACTORY_BLOCK: Mapping[str, str] = {}


def build_disk(
    cache: Cache,
    images: SlotImages | None,
    variables: Mapping[str, str] = FACTORY_BLOCK,
    *,
    passive: SlotImages | None = None,
    firmware: Firmware = Firmware.UEFI,
    plan: Layout = GUESTOS,
    guest: Path | None = None,
    release: Release = Release.BOOKWORM,
    grub_partition: GrubPartition = SHIPPED,
) -> Path:
    """Give a raw disk image with a version of the node in slot A.

    Args:
        images: of slot A; None: it is empty, and nothing boots.
        variables: the environment block; by default that of a node that has never booted.
        passive: what slot B holds; by default nothing.
        firmware: what starts GRUB.
        plan: of the disk; the one that the images are for.
        guest: the disk of a guest, for a host.
        release: of Debian, whose GRUB starts it.
        grub_partition: what GRUB's own partition has.
    """
    grub = GrubTools.of(cache, release)
    modules = (biosloader, grubtools, layout, loader, volumes)
    sources = (Path(__file__), *(Path(str(module.__file__)) for module in modules))
    content = {
        f"{slot}_{image.stem}": image
        for slot, both in (("A", images), ("B", passive))
        if both
        for image in (both.boot, both.root)
    }
    if guest:
        content["guestos"] = guest
    # The directories of images and of disks are named after their content.
    names = [f"{place} {image.parent.name}" for place, image in content.items()]
    words = (plan.system, firmware.name, grub.key, grub_partition.kind, *names, repr(sorted(variables.items())))
    key = content_key(*words, grub_partition.script, *sources)

    def build(directory: Path) -> None:
        _build(directory / "disk.img", content, variables, grub, firmware, plan, grub_partition)

    return cache.entry("disk", key, build) / "disk.img"


def _build(
    disk: Path,
    content: Mapping[str, Path],
    variables: Mapping[str, str],
    grub: GrubTools,
    firmware: Firmware,
    plan: Layout,
    grub_partition: GrubPartition,
) -> None:
    places = partition_disk(disk, plan)
    bios = firmware is Firmware.BIOS
    if bios:
        biosloader.make_bios_bootable(disk, grub, loader.PREFIX, loader.MODULES)
    with tempfile.TemporaryDirectory(dir=disk.parent) as scratch:
        images = {name: Path(scratch, name) for name in ("esp", "grub", "config")}
        loader.make_esp(images["esp"], grub)
        target = (biosloader if bios else loader).TARGET
        loader.make_grub_partition(images["grub"], variables, grub, target, grub_partition)
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, "manageboot:config"))
        make_ext4(images["config"], layout.CONFIG_SIZE, label="config", uuid=identifier)
        for name, image in {**images, **content}.items():
            copy_into(image, disk, places[name])


def partition_disk(disk: Path, plan: Layout = GUESTOS) -> dict[str, int]:
    """Make an empty disk with the partitions and volumes of a layout; give the byte at which each of them begins."""
    with disk.open("xb") as file:
        file.truncate(plan.size)
    argv = ["sgdisk", "--set-alignment=1", f"--disk-guid={layout.DISK_GUID}"]
    for number, partition in enumerate(plan.partitions, 1):
        first = plan.offset(partition.name) // layout.SECTOR_SIZE
        last = first + partition.size // layout.SECTOR_SIZE - 1
        argv.append(f"--new={number}:{first}:{last}")
        argv.append(f"--change-name={number}:{partition.name}")
        argv.append(f"--typecode={number}:{partition.type_guid}")
        argv.append(f"--partition-guid={number}:{partition.partuuid}")
    run([*argv, disk])
    places = {partition.name: plan.offset(partition.name) for partition in plan.partitions}
    if plan.volumes:
        group = plan.partition(layout.GROUP)
        places |= volumes.make_volumes(disk, places[group.name], group.size, group.name, plan.volumes)
    return places
