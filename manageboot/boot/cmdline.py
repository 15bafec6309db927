"""The kernel command line: which slot is booted, and how GRUB came to boot it.

It is read as the kernel reads it, by `grubenv.kernelcmdline`, and once for each look at the node.
"""

from typing import NamedTuple

from grubenv import kernelcmdline
from manageboot import errors
from manageboot.config import BootConfig, in_container
from manageboot.protocol import Slot, state_by_block
from manageboot.system import console, text

_OF_THE_KERNEL = "/proc/cmdline"
_BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id"


class GrubParameters(NamedTuple):
    """The `manageboot.*` parameters, which only the shipped grub.cfg passes; one that is not there is empty."""

    slot: str
    cycle: str = ""
    """What GRUB found in the block, before it wrote."""
    try_: str = ""
    """Which boot of a trial this is, counted from 1."""
    nonce: str = ""
    """Of which commit."""
    fault: str = ""
    """What went wrong: damaged, unwritable, unloadable; or menu, where somebody chose the slot."""


class CommandLine(NamedTuple):
    """All that the kernel command line tells."""

    slot: Slot
    grub: GrubParameters | None
    """None: it was not the shipped grub.cfg that booted the node."""
    by_grub: bool
    """Whether a GRUB started the kernel, with whatever grub.cfg."""


def read(boot: BootConfig) -> CommandLine:
    """Read all that the command line tells.

    Raises:
        BootedSlotUnknownError: the command line can't be read, does not name a slot, or names both.
    """
    line = _line(boot)
    return CommandLine(_slot(boot, line), _grub_parameters(line), _by_grub(line))


def booted_slot(boot: BootConfig) -> Slot:
    """Read the booted slot alone; offline, from the block.

    Raises:
        BootedSlotUnknownError: the command line can't be read, does not name a slot, or names both.
        BlockDamagedError, BlockMissingError: the block says nothing, offline.
        InputError, DeviceError, NotPermittedError: that block can't be read.
    """
    if boot.cmdline is not None:
        return _slot(boot, _line(boot))
    from manageboot.boot import envblock  # the running system's queries do without

    block = envblock.stated(envblock.read(boot.grubenv))
    booted = state_by_block(block, runs=boot.disk_user is not None, booted=boot.counts_as_booted).booted
    if console.debug:
        system = "stopped" if boot.disk_user is None else "most likely running"
        why = "as the other is to be overwritten" if boot.counts_as_booted else f"by the block, the system is {system}"
        console.debug("booted: slot %s counts as booted, %s", booted, why)
    return booted


def grub_parameters(boot: BootConfig) -> GrubParameters | None:
    """Read the parameters alone, whatever slot is booted; None: there are none, or the command line can't be read."""
    try:
        return _grub_parameters(_line(boot))
    except errors.ManagebootError:
        return None


def started_by_grub(boot: BootConfig) -> bool:
    """Say whether a GRUB started the kernel; that is assumed where the command line can't be read."""
    try:
        return _by_grub(_line(boot))
    except errors.ManagebootError:
        return True


def parameters(path: str) -> tuple[tuple[str, str], ...]:
    """Give all parameters and their values, empty where there is none; nothing, if the command line can't be read."""
    try:
        line = kernelcmdline.read_line(path)
    except OSError:
        return ()
    return tuple((text.decode(key), text.decode(value or b"")) for key, value in kernelcmdline.parameters(line))


def boot_id() -> str | None:
    """Return the kernel's name for this boot."""
    try:
        with open(_BOOT_ID_PATH, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def _line(boot: BootConfig) -> bytes:
    assert boot.cmdline is not None, "nobody asks for this offline"
    try:
        return kernelcmdline.read_line(boot.cmdline)
    except OSError as error:
        raise errors.from_os_error(error, f"read {boot.cmdline}", errors.BootedSlotUnknownError) from error


def _slot(boot: BootConfig, line: bytes) -> Slot:
    values = kernelcmdline.values(line, boot.cmdline_key)
    if console.debug:
        console.debug("booted: %s says %s=%s", boot.cmdline, boot.cmdline_key, " and ".join(values) or "nothing")
    if len(values) == 1 and values[0] in {"A", "B"}:
        return Slot(values[0])
    found = " and ".join(f"{boot.cmdline_key}={value}" for value in values) or f"no {boot.cmdline_key}"
    hint = f"GRUB has to pass {boot.cmdline_key}=A or {boot.cmdline_key}=B; the key is boot.cmdline_key"
    if boot.cmdline == _OF_THE_KERNEL and in_container():
        hint = "this is a container, and the kernel command line is that of its host: run it there"
    raise errors.BootedSlotUnknownError(f"cannot tell the booted slot: {boot.cmdline} has {found}", hint=hint)


def _by_grub(line: bytes) -> bool:
    """Look for the word with which GRUB begins the line of every kernel that it loads, or for those of our grub.cfg.

    Whoever starts one without GRUB has no reason to pass it: a host that boots a guest directly takes the words of
    boot_args, and kexec with --reuse-cmdline takes it out.

    Source: GRUB grub-core/loader/i386/linux.c, LINUX_IMAGE.
    """
    return bool(kernelcmdline.values(line, "BOOT_IMAGE") or kernelcmdline.values(line, "manageboot.slot"))


def _grub_parameters(line: bytes) -> GrubParameters | None:
    found = {field: kernelcmdline.values(line, f"manageboot.{field.rstrip('_')}") for field in GrubParameters._fields}
    if len(found["slot"]) != 1:
        return None
    return GrubParameters(*(values.pop() if len(values) == 1 else "" for values in found.values()))
