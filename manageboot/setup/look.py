"""Looks at this machine, or at a disk, for what an A/B layout needs. Writes nothing, and asks for no rights."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from grubenv import Inside
from manageboot import errors
from manageboot.boot import cmdline, envblock
from manageboot.boot.envblock import Condition, Environment
from manageboot.bootloader import grubcfg
from manageboot.config import Config
from manageboot.disk import devices, diskusers, sysfs
from manageboot.offline import gpt
from manageboot.protocol import Cycle, Slot
from manageboot.setup import layout, proposal
from manageboot.setup.machine import Configured, Grub, Machine, Part, Running, Script, Unit, Unknown
from manageboot.system import text

_GRUB_DIRECTORIES = ("/boot/grub", "/boot/grub2")
_BLOCK = "grubenv"
_CMDLINE = "/proc/cmdline"
_KERNEL_DIRECTORIES = ("/", "/boot/")
_KERNEL_FILES = ("vmlinuz", "initrd.img")
_UNIT = "manageboot.service"
_UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")

# Source: systemd, src/basic/virt.c, detect_container; podman and docker make the other two.
_CONTAINER = "/run/systemd/container"
_OF_CONTAINERS = {"/run/.containerenv": "podman", "/.dockerenv": "docker"}


def at_this_machine(settings: "Config | errors.ManagebootError | None", source: str) -> Machine:
    """Look at the machine that this runs on.

    Args:
        settings: the configuration that counts; or what is wrong with it; None: there is none.
        source: the path of it, or the profile.
    """
    parts = _parts()
    known = () if isinstance(parts, Unknown) else parts
    config = settings if isinstance(settings, Config) else None
    configured: Configured | Unknown | None = None
    if isinstance(settings, errors.ManagebootError):
        configured = Unknown(str(settings))
    elif config is not None:
        configured = Configured(source, _devices(config), config.boot.cmdline_key)
    own = () if config is None else (config.boot.directory,)
    running = Running(
        uefi=os.path.isdir("/sys/firmware/efi"),
        container=_container(),
        root=_root(),
        arguments=cmdline.parameters(_CMDLINE if config is None else str(config.boot.cmdline)),
        kernels=tuple(_kernels()),
        unit=_unit(),
    )
    return Machine(parts, _grub((*own, *_GRUB_DIRECTORIES), known), configured, running)


def at_disk(path: str) -> Machine:
    """Look at a disk, or at the image of one, that this machine does not run from.

    Raises:
        DeviceMissingError, DeviceError, NotPermittedError: it can't be opened.
        PartitionTableError: it has no partition table that can be read.
    """
    disk = os.path.realpath(path)
    with diskusers.looked_at(disk) as descriptor:
        table = gpt.read(disk, descriptor)
    parts = tuple(
        Part(f"{disk}@@{one.offset}", 0, disk, one.label, one.uuid, number=one.number, kind=one.kind)
        for one in table.partitions
    )
    grub = None
    candidates = [one for one in table.partitions if "grub" in one.label.lower()]
    candidates += [one for one in table.partitions if one.kind == layout.ESP_TYPE and one not in candidates]
    for one in candidates:
        part = parts[table.partitions.index(one)]
        found = _block(Inside(disk, one.offset, one.size, _BLOCK))
        if grub is None or (found[0] and not grub.block):
            grub = Grub(part.path, 0, proposal.name_of(part, parts), *found, Script.ABSENT)
    return Machine(parts, grub, None, None)


def _parts() -> tuple[Part, ...] | Unknown:
    try:
        return tuple(
            Part(
                sysfs.node(sysfs.named(one.name)),
                one.number,
                one.place,
                one.label,
                one.uuid,
                one.volume,
                one.partition,
                one.kind,
                one.scheme,
                one.file_system,
            )
            for one in devices.listed()
        )
    except (errors.ManagebootError, OSError) as error:
        return Unknown(str(error))


def _devices(config: Config) -> dict[str, str | Unknown]:
    found: dict[str, str | Unknown] = {}
    for slot, roles in config.slots.items():
        for role, spec in roles.items():
            try:
                path = devices.find(spec)
                there = devices.device_number(path) is not None
                found[f"{slot}_{role}"] = path if there else Unknown(f"{path} is not a block device")
            except errors.ManagebootError as error:
                found[f"{slot}_{role}"] = Unknown(str(error))
    return found


def _grub(directories: Sequence[str], parts: tuple[Part, ...]) -> Grub | None:
    path = next((directory for directory in directories if os.path.isdir(directory)), None)
    if path is None:
        return None
    number = os.stat(path).st_dev
    part = next((part for part in parts if part.device == number), None)
    spec = "" if part is None else proposal.name_of(part, parts)
    return Grub(path, number, spec, *_block(os.path.join(path, _BLOCK)), _script(path))


def _block(path: str | Inside) -> tuple[str | Unknown, Slot | None, bool]:
    """Say what a block says, which slot it names, and whether neither a commit waits nor a trial runs."""
    try:
        found = envblock.read(path)
    except (errors.ManagebootError, OSError) as error:
        return Unknown(str(error)), None, False
    if found.condition is Condition.ABSENT:
        return "", None, True
    return _said(found), _named(found), found.state is not None and found.state.cycle in {Cycle.STABLE, Cycle.INSTALL}


def _said(found: Environment) -> str | Unknown:
    if found.condition is Condition.EMPTY:
        return "nothing yet"
    if found.state is None:
        return Unknown(str(found.problem))
    return f"boot_alternative={found.state.alternative} boot_cycle={found.state.cycle}"


def _named(found: Environment) -> Slot | None:
    return None if found.state is None else found.state.alternative


def _script(directory: str) -> Script | Unknown:
    try:
        content = grubcfg.read(os.path.join(directory, grubcfg.FILE_NAME))
    except errors.ManagebootError as error:
        return Unknown(str(error))
    if content is None:
        return Script.ABSENT
    script = content.decode("utf-8", "replace")
    if script == grubcfg.shipped():
        return Script.SHIPPED
    if envblock.ALTERNATIVE in script and envblock.CYCLE in script:
        return Script.PROTOCOL
    return Script.STOCK if "grub-mkconfig" in script else Script.OTHER


def _container() -> str:
    try:
        with open(_CONTAINER, encoding="utf-8", errors="replace") as file:
            return text.one_line(file.read().strip())
    except OSError:
        return next((kind for path, kind in _OF_CONTAINERS.items() if os.path.exists(path)), "")


def _root() -> frozenset[int]:
    number = os.stat("/").st_dev
    try:
        return frozenset(devices.layers(number))
    except errors.ManagebootError:
        return frozenset({number})


def _kernels() -> Iterator[tuple[str, int]]:
    """Find kernels; GRUB follows a link on one file system, and never to another one."""
    for directory in _KERNEL_DIRECTORIES:
        with suppress(OSError):
            devices_of = {os.stat(f"{directory}{name}").st_dev for name in _KERNEL_FILES}
            if len(devices_of) == 1:
                yield directory, devices_of.pop()


def _unit() -> Unit:
    if not any(os.path.lexists(f"{directory}/{_UNIT}") for directory in _UNIT_DIRECTORIES):
        return Unit.ABSENT
    for directory in _UNIT_DIRECTORIES:
        try:
            targets = [name for name in os.listdir(directory) if name.endswith((".wants", ".requires"))]
        except OSError:
            continue
        if any(os.path.lexists(f"{directory}/{target}/{_UNIT}") for target in targets):
            return Unit.ENABLED
    return Unit.DISABLED
