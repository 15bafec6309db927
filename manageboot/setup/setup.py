"""`init`: says what was seen, and writes what was asked for, never over an existing file without being told."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from manageboot import errors
from manageboot.bootloader import grubcfg, modules
from manageboot.config import CONFIG_PATHS
from manageboot.setup import layout, proposal
from manageboot.setup.layout import State, Thing
from manageboot.setup.machine import Machine, Unknown
from manageboot.system import files
from manageboot.system.text import one_line

SCHEMA = 1


class Wanted(NamedTuple):
    """What is to be written; a path that is empty stands for the place where it counts, None for nothing."""

    config: str | None
    grub_cfg: str | None
    replace: bool
    """Whether existing files may be replaced."""


def report(machine: Machine) -> dict[str, Any]:
    """Say what was seen, as `init --json` prints it."""
    things = layout.things(machine)
    return {
        "schema": SCHEMA,
        "container": None if machine.running is None else machine.running.container or None,
        "complete": all(thing.state is State.FOUND for thing in things),
        "things": [{**thing._asdict(), "state": thing.state.value} for thing in things],
        "config": _text(machine),
        "written": [],
    }


def render(report: dict[str, Any]) -> str:
    """Write a report for a person."""
    lines = []
    if report["container"]:
        lines.append(
            f"this is a container ({report['container']}), which no GRUB boots: run init on the machine itself"
        )
    for thing in (Thing(**values) for values in report["things"]):
        lines.append(f"{thing.state:<8} {thing.name}: {thing.text}")
        if thing.remedy:
            lines.append(f"  remedy: {thing.remedy}")
    found = sum(thing["state"] == State.FOUND for thing in report["things"])
    lines.append(f"{found} of {len(report['things'])} things are there")
    return "\n".join(map(one_line, lines))


def write(machine: Machine, wanted: Wanted) -> Iterator[str]:
    """Write what is wanted, and give the path of each file once it is written.

    Raises:
        DeviceMissingError: no slots were found that it could be for.
        BootloaderError: a grub.cfg here would not boot what runs now, or GRUB's own checker does not take it.
        CreateError: a file is there, or can't be made.
        InputError: GRUB's modules can't be looked for.
        DeviceError, LockedError, NotPermittedError.

    Durability: once its path is given, a file is on the disk; cut before, it is the old one or the new one.
    """
    # All that can be refused is refused before the first file is written.
    config = None if wanted.config is None else proposal.config(machine).encode()
    script = None if wanted.grub_cfg is None else proposal.grub_cfg(machine).text()
    config_path = files.absolute(wanted.config or CONFIG_PATHS[0]) if config is not None else ""
    script_path = _script_path(machine, wanted) if script is not None else ""
    for path in filter(None, (config_path, script_path)):
        if os.path.lexists(path) and not wanted.replace:
            raise errors.CreateError(f"cannot write {path}: it is there already", hint="--replace replaces it")
    if config is not None:
        _put(config_path, config)
        yield config_path
    if script is not None:
        _make_directory(script_path)
        grubcfg.put(script_path, script)
        yield script_path


def _text(machine: Machine) -> str | None:
    return None if layout.slots_of(machine) is None else proposal.config(machine)


def _script_path(machine: Machine, wanted: Wanted) -> str:
    """Give where the grub.cfg goes; where GRUB reads it, only if it boots there what runs now."""
    if wanted.grub_cfg:
        return files.absolute(wanted.grub_cfg)
    path = "" if machine.grub is None else f"{machine.grub.path}/{grubcfg.FILE_NAME}"
    if (reason := _why_not(machine)) is not None:
        raise errors.BootloaderError(
            f"cannot write {path or grubcfg.FILE_NAME}: {reason}",
            hint="--write-grub-cfg FILE writes it elsewhere, to be read and tried first",
        )
    return path


def _why_not(machine: Machine) -> str | None:
    """Say why the script would not boot what runs now; None: it would, and GRUB has the modules that it needs."""
    grub, running = machine.grub, machine.running
    if grub is None or running is None:
        return "GRUB's directory was not found"
    if running.container:
        return f"this is a container ({running.container})"
    things = {thing.name: thing for thing in layout.things(machine)}
    if isinstance(grub.block, Unknown) or things["GRUB's directory"].state is not State.FOUND:
        return things["GRUB's directory"].text
    slots = layout.slots_of(machine)
    booted = layout.booted(machine, slots)
    if booted is None:
        return "the mounted root is not that of a slot"
    if not grub.settled:
        return f"the environment block says {grub.block}, and this is settled first"
    if grub.alternative is not booted:
        return f"slot {booted} runs, and the environment block says {grub.block}"
    if slots is None or proposal.kernel_directory(machine, slots) is None:
        return "no vmlinuz with an initrd.img is where GRUB would load them from the slot"
    if lost := grubcfg.missing_modules(grub.path, modules.NEEDED):
        return f"there is no {', '.join(lost)}"
    return None


def _put(path: str, content: bytes) -> None:
    _make_directory(path)
    try:
        files.replace(path, content, durable=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error


def _make_directory(path: str) -> None:
    """Make the directory that a file is to be in, where there is none."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error
