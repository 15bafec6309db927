"""What the shipped grub.cfg says of this boot on the kernel command line; no other one says it."""

from typing import NamedTuple

from grubenv import kernelcmdline
from manageboot.config import BootConfig

_BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"


class BootTrace(NamedTuple):
    """The `manageboot.*` words; what is not there is empty."""

    slot: str
    cycle: str = ""
    """What GRUB found in the block, before it wrote."""
    try_: str = ""
    """Which boot of a trial this is, counted from 1."""
    nonce: str = ""
    """Of which commit."""
    fault: str = ""
    """What went wrong: damaged, unwritable, unloadable; or menu, where somebody chose the slot."""


def read(boot: BootConfig) -> BootTrace | None:
    """Return what GRUB said, or None where it was not the shipped grub.cfg that booted the node."""
    if boot.cmdline is None:
        return None
    try:
        line = kernelcmdline.read_line(boot.cmdline)
    except OSError:
        return None
    found = {field: kernelcmdline.values(line, f"manageboot.{field.rstrip('_')}") for field in BootTrace._fields}
    if len(found["slot"]) != 1:
        return None
    return BootTrace(*(values.pop() if len(values) == 1 else "" for values in found.values()))


def boot_id() -> str | None:
    """Return the kernel's name for this boot."""
    try:
        with open(_BOOT_ID_PATH, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None
