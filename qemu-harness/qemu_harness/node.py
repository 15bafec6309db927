"""All that a machine needs to start: the disk of a node, and a medium with updates for it."""

from dataclasses import dataclass
from pathlib import Path

from qemu_harness.base import CLOUD_KERNEL
from qemu_harness.cache import Cache
from qemu_harness.disk import build_disk
from qemu_harness.firmware import Firmware
from qemu_harness.slot import build_slot_images, build_system
from qemu_harness.update import build_media, build_update

FACTORY_VERSION = "0.1.0-v1"
# The names of the updates on the medium, and the versions that they bring.
UPDATES = {"update-v2.tar.zst": "0.1.0-v2", "update-v3.tar.zst": "0.1.0-v3"}


@dataclass(frozen=True)
class NodeImages:
    """The images of a node, which no machine changes."""

    disk: Path
    media: Path


def build_node(cache: Cache, kernel: str = CLOUD_KERNEL, firmware: Firmware = Firmware.UEFI) -> NodeImages:
    """Give a node that has never booted, with manageboot as the repository has it now, and its updates.

    Args:
        kernel: the Debian package of the kernel.
        firmware: what starts GRUB.
    """
    system = build_system(cache, kernel)
    disk = build_disk(cache, build_slot_images(cache, system, FACTORY_VERSION), firmware=firmware)
    updates = {
        name: build_update(cache, build_slot_images(cache, system, version)) for name, version in UPDATES.items()
    }
    return NodeImages(disk, build_media(cache, updates))
