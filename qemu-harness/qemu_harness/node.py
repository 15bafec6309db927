"""All that a machine needs to start: the disk of a node, and a medium with updates for it."""

from dataclasses import dataclass
from pathlib import Path

from qemu_harness.base import CLOUD_KERNEL
from qemu_harness.cache import Cache
from qemu_harness.debian import Release
from qemu_harness.disk import build_disk
from qemu_harness.firmware import Firmware
from qemu_harness.layout import HOSTOS
from qemu_harness.loader import SHIPPED, GrubPartition
from qemu_harness.slot import build_slot_images, build_system
from qemu_harness.update import build_media, build_update

FACTORY_VERSION = "0.1.0-v1"
# The names of the updates on the medium, and the versions that they bring.
UPDATES = {"update-v2.tar.zst": "0.1.0-v2", "update-v3.tar.zst": "0.1.0-v3"}

EMPTY_GUEST = {"boot_alternative": "A", "boot_cycle": "stable"}
"""The block of a guest that was in service, and of which nothing is left."""


@dataclass(frozen=True)
class NodeImages:
    """The images of a node, which no machine changes."""

    disk: Path
    media: Path


def build_node(
    cache: Cache,
    kernel: str = CLOUD_KERNEL,
    firmware: Firmware = Firmware.UEFI,
    release: Release = Release.BOOKWORM,
    grub_partition: GrubPartition = SHIPPED,
) -> NodeImages:
    """Give a node that has never booted, with manageboot as the repository has it now, and its updates.

    Args:
        kernel: the Debian package of the kernel.
        firmware: what starts GRUB.
        release: of Debian.
        grub_partition: what GRUB's own partition has.
    """
    system = build_system(cache, kernel, release)
    factory = build_slot_images(cache, system, FACTORY_VERSION)
    disk = build_disk(cache, factory, firmware=firmware, release=release, grub_partition=grub_partition)
    updates = {
        name: build_update(cache, build_slot_images(cache, system, version)) for name, version in UPDATES.items()
    }
    return NodeImages(disk, build_media(cache, updates))


def build_host(cache: Cache, release: Release = Release.BOOKWORM) -> NodeImages:
    """Give a hostOS that has never booted, with a guest that is empty in both slots, and updates for host and guest.

    Those of the host are unpacked, as a host's agent hands them over.
    """
    system = build_system(cache, release=release)
    slots = {
        version: build_slot_images(cache, system, version, HOSTOS) for version in (FACTORY_VERSION, *UPDATES.values())
    }
    guest = build_disk(cache, None, EMPTY_GUEST, release=release)
    disk = build_disk(cache, slots[FACTORY_VERSION], plan=HOSTOS, guest=guest, release=release)
    files = {
        f"{version}-{image.name}": image
        for version in UPDATES.values()
        for image in (slots[version].boot, slots[version].root)
    }
    [name, *_] = UPDATES
    files[name] = build_update(cache, build_slot_images(cache, system, UPDATES[name]))
    return NodeImages(disk, build_media(cache, files))
