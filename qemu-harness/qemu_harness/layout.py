"""The disks of an IC-OS guest and of its host: their parts, in order, with their names and identifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR_SIZE = 512
MIB = 1024 * 1024
# The first partition of the real disk starts here as well.
FIRST_OFFSET = MIB
# GPT keeps a second table at the end of the disk.
TAIL_SIZE = MIB

DISK_GUID = "4d414e41-4745-424f-4f54-4841524e4553"
EFI_SYSTEM = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX_DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4"
LINUX_LVM = "e6d6d379-f507-44c2-a23c-238f2a3df928"


EXTENT_SIZE = 4 * MIB
GROUP = "hostlvm"


@dataclass(frozen=True)
class Partition:
    """One partition; the place in the table gives its number, counted from 1."""

    name: str
    partuuid: str
    size: int
    type_guid: str = LINUX_DATA


@dataclass(frozen=True)
class Layout:
    """A disk: its partitions, and the logical volumes of the group in the last of them, by their sizes."""

    system: str
    """What /opt/ic/share/os-type says."""
    partitions: tuple[Partition, ...]
    volumes: Mapping[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Of the disk, in bytes."""
        return FIRST_OFFSET + sum(partition.size for partition in self.partitions) + TAIL_SIZE

    def partition(self, name: str) -> Partition:
        """Find a partition by its name."""
        return self.partitions[self.number(name) - 1]

    def number(self, name: str) -> int:
        """Give the number of a partition, counted from 1."""
        return [partition.name for partition in self.partitions].index(name) + 1

    def offset(self, name: str) -> int:
        """Give the byte at which a partition starts."""
        return FIRST_OFFSET + sum(partition.size for partition in self.partitions[: self.number(name) - 1])

    def grub_name(self, name: str) -> str:
        """Give GRUB's name of a part, on the disk that it calls `loop0` or of a group that it has found."""
        return f"lvm/{GROUP}-{name}" if name in self.volumes else f"loop0,gpt{self.number(name)}"


ESP_SIZE = GRUB_SIZE = 32 * MIB
CONFIG_SIZE = 16 * MIB
BOOT_SIZE = 64 * MIB
ROOT_SIZE = 512 * MIB
# An installation wipes the first 16 MiB of var; the rest is room for a file system.
VAR_SIZE = 64 * MIB
SLOT_SIZES = {"boot": BOOT_SIZE, "root": ROOT_SIZE, "var": VAR_SIZE}

# Names, order and identifiers are those of a real node; the sizes are smaller, so that a node builds and boots quickly.
# The last partition of a real guest, `store`, has no part in an upgrade and is left out.
GUESTOS = Layout(
    "guestos",
    (
        Partition("esp", "b78084e2-3363-1346-8c25-d426f26b8928", ESP_SIZE, EFI_SYSTEM),
        Partition("grub", "6788e4cf-f456-104e-9a34-a2c58cfb0ee6", GRUB_SIZE),
        Partition("config", "a5ba3816-beaa-d74d-993e-cfa5aa6ba1f6", CONFIG_SIZE),
        Partition("A_boot", "ddf618fe-7244-b446-a175-3296e6b9d02e", BOOT_SIZE),
        Partition("A_root", "7c0a626e-e5ea-e543-b5c5-300eb8304db7", ROOT_SIZE),
        Partition("A_var", "22d2f5a6-1e39-d247-81cf-90c95c113e21", VAR_SIZE),
        Partition("B_boot", "d5214e4f-f7b0-b945-9a9b-52b9188df4c5", BOOT_SIZE),
        Partition("B_root", "a78bc3a8-376c-054a-96e7-3904b915d0c5", ROOT_SIZE),
        Partition("B_var", "2237d1d1-ce96-584e-8ec5-8ae6661faae9", VAR_SIZE),
    ),
)

_VOLUMES = {
    "config": CONFIG_SIZE,
    **{f"{slot}_{part}": size for slot in "AB" for part, size in SLOT_SIZES.items()},
    # Room for the disk of a guest.
    "guestos": -(-GUESTOS.size // EXTENT_SIZE) * EXTENT_SIZE,
}
HOSTOS = Layout(
    "hostos",
    (
        Partition("esp", "f46600e3-d0e6-4258-9607-e64b13cf7595", ESP_SIZE, EFI_SYSTEM),
        Partition("grub", "1a7c28b7-efe0-4f17-9230-678cf2df8db2", GRUB_SIZE),
        # LVM keeps its own data in front.
        Partition(GROUP, "4d414e41-4745-424f-4f54-484f53544c56", sum(_VOLUMES.values()) + 4 * MIB, LINUX_LVM),
    ),
    _VOLUMES,
)
