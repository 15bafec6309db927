"""The disk of an IC-OS guest: its partitions, in order, with their names and identifiers."""

from dataclasses import dataclass

SECTOR_SIZE = 512
MIB = 1024 * 1024
# The first partition of the real disk starts here as well.
FIRST_OFFSET = MIB
# GPT keeps a second table at the end of the disk.
TAIL_SIZE = MIB

DISK_GUID = "4d414e41-4745-424f-4f54-4841524e4553"
EFI_SYSTEM = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX_DATA = "0fc63daf-8483-4772-8e79-3d69d8477de4"


@dataclass(frozen=True)
class Partition:
    """One partition; the place in the table gives its number, counted from 1."""

    name: str
    partuuid: str
    size: int
    type_guid: str = LINUX_DATA


BOOT_SIZE = 64 * MIB
ROOT_SIZE = 512 * MIB
# An installation wipes the first 16 MiB of var; the rest is room for a file system.
VAR_SIZE = 64 * MIB

# Names, order and identifiers are those of a real node; the sizes are smaller, so that a node builds and boots quickly.
# The last partition of a real node, `store`, has no part in an upgrade and is left out.
PARTITIONS = (
    Partition("esp", "b78084e2-3363-1346-8c25-d426f26b8928", 32 * MIB, EFI_SYSTEM),
    Partition("grub", "6788e4cf-f456-104e-9a34-a2c58cfb0ee6", 32 * MIB),
    Partition("config", "a5ba3816-beaa-d74d-993e-cfa5aa6ba1f6", 16 * MIB),
    Partition("A_boot", "ddf618fe-7244-b446-a175-3296e6b9d02e", BOOT_SIZE),
    Partition("A_root", "7c0a626e-e5ea-e543-b5c5-300eb8304db7", ROOT_SIZE),
    Partition("A_var", "22d2f5a6-1e39-d247-81cf-90c95c113e21", VAR_SIZE),
    Partition("B_boot", "d5214e4f-f7b0-b945-9a9b-52b9188df4c5", BOOT_SIZE),
    Partition("B_root", "a78bc3a8-376c-054a-96e7-3904b915d0c5", ROOT_SIZE),
    Partition("B_var", "2237d1d1-ce96-584e-8ec5-8ae6661faae9", VAR_SIZE),
)
DISK_SIZE = FIRST_OFFSET + sum(partition.size for partition in PARTITIONS) + TAIL_SIZE


def partition(name: str) -> Partition:
    """Find a partition by its name."""
    return PARTITIONS[number(name) - 1]


def number(name: str) -> int:
    """Give the number of a partition, counted from 1."""
    return [partition.name for partition in PARTITIONS].index(name) + 1


def offset(name: str) -> int:
    """Give the byte at which a partition starts."""
    return FIRST_OFFSET + sum(partition.size for partition in PARTITIONS[: number(name) - 1])
