"""What there is of an A/B layout on a machine, or on a disk: values, which tell nothing of what they mean.

Pure: `look` fills them in, `layout` judges them.
"""

from enum import Enum
from typing import NamedTuple

from manageboot.protocol import Slot


class Part(NamedTuple):
    """A partition or a logical volume; what is not known of it is empty."""

    path: str
    """Its device node; on a disk that is looked at from another system, what mtools calls it."""
    device: int
    """The number of the device; 0 on a disk that is looked at from another system."""
    place: str
    """The disk of a partition, or the group of a logical volume."""
    label: str
    uuid: str
    volume: str = ""
    """GROUP/NAME of a logical volume."""
    number: int = 0
    """Of a partition on its disk."""
    kind: str = ""
    """The GUID of the type of a partition, in lower case."""
    scheme: str = "gpt"
    """What the partition table is."""
    file_system: str = ""
    """The label of the file system."""


class Script(Enum):
    """Whose grub.cfg it is."""

    SHIPPED = "the shipped one"
    PROTOCOL = "one that goes by boot_alternative and boot_cycle"
    STOCK = "that of the distribution, made by grub-mkconfig"
    OTHER = "one that does not go by boot_alternative and boot_cycle"
    ABSENT = "not there"


class Unit(Enum):
    """What there is of manageboot.service."""

    ENABLED = "enabled"
    DISABLED = "not enabled"
    ABSENT = "not installed"


class Unknown(NamedTuple):
    """What could not be looked at, and why."""

    why: str


class Grub(NamedTuple):
    """GRUB's directory, where block and grub.cfg are."""

    path: str
    """Of a disk that is looked at from another system: that of the partition."""
    device: int
    """The number of the device that the directory is on."""
    spec: str
    """The partition as a configuration names it; empty: unknown."""
    block: "str | Unknown"
    """What the block says, in words; empty: there is none."""
    alternative: Slot | None
    """The slot that the block names; None: none, or it can't be read."""
    settled: bool
    """Whether neither a commit waits nor a trial runs."""
    script: "Script | Unknown"


class Configured(NamedTuple):
    """The configuration that counts."""

    source: str
    """Its path, or the profile."""
    devices: dict[str, "str | Unknown"]
    """The device of each role, such as A_root; or why there is none."""
    cmdline_key: str


class Running(NamedTuple):
    """What only the system that runs can tell."""

    uefi: bool
    container: str
    """What kind of container it is; empty: none."""
    root: frozenset[int]
    """The numbers of the devices that the root file system is on, what device-mapper builds on included."""
    arguments: tuple[tuple[str, str], ...]
    """The kernel command line."""
    kernels: tuple[tuple[str, int], ...]
    """The directories with a vmlinuz and an initrd.img, and the number of the device that both are on."""
    unit: Unit


class Machine(NamedTuple):
    """All that was seen."""

    parts: "tuple[Part, ...] | Unknown"
    grub: Grub | None
    """None: there is none."""
    configured: "Configured | Unknown | None"
    """None: there is no configuration."""
    running: Running | None
    """None: it is a disk that is looked at from another system."""
