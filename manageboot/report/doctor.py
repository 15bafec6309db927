"""What is wrong with this node's boot chain, and what to do: everything that tells of it, compared. Writes nothing."""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import grubenv
from manageboot import errors
from manageboot.boot import envblock, fallback, markers, ownership, trusted, writable
from manageboot.boot.envblock import Condition
from manageboot.boot.node import Node, observe
from manageboot.boot.ownership import Ownership
from manageboot.bootloader import grubcfg, modules
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.protocol import Cycle, Phase, Slot, describe
from manageboot.report import grubcommon, status, updating
from manageboot.system.text import one_line

SCHEMA = 1

REMEDIES = {
    "NO_BOOTED_SLOT": "boot through a GRUB that passes the slot, or set boot.cmdline_key",
    "NO_BLOCK": "mount GRUB's partition where boot.grubenv points, or make a block with `grubenv FILE create`",
    "BLOCK_DAMAGED": "run `grubenv FILE repair`; if it calls the block sound, use `grubenv FILE set NAME=VALUE`",
    "BLOCK_UNSOUND": "run `grubenv FILE check` to see what GRUB makes of it, and `grubenv FILE repair`",
    "BLOCK_READ_ONLY": "see the cause: remount its file system for writing, or see lsattr and blockdev --getro",
    "BLOCK_REWRITTEN": f"run `systemctl mask {grubcommon.UNIT}`; the boot needs nothing of what it does",
    "CONFLICT": "reboot, so that GRUB decides; if it stays, GRUB reads another block than boot.grubenv",
    "GRUB_DID_NOT_WRITE": "confirm or abort the trial; GRUB can't write the block or its disk",
    "GRUB_CANNOT_WRITE": "run `grubenv FILE check`; take the commit back with upgrade-cancel until GRUB can write",
    "GRUB_FOUND_DAMAGE": "the block was damaged when GRUB read it: run `grubenv FILE check`, then reboot",
    "GRUB_READS_OTHER_BLOCK": "find the grubenv that GRUB reads (in its prefix), and set boot.grubenv to it",
    "TRUSTED_SLOT_UNLOADABLE": "GRUB could not load the trusted slot and booted this one: install the other one anew",
    "ROOT_OF_OTHER_SLOT": "boot_args of the booted slot name the root of the other one: install that slot anew",
    "FELL_BACK": "see the cause; the next upgrade-install clears it",
    "RECORD_DAMAGED": "run upgrade-install; without a record nothing can be committed",
    "NO_DEVICE": "name the slots' devices in the configuration as this node has them",
    "DEVICES_SCATTERED": "detach the disk that has some of this node's identifiers, or name the devices by path",
    "TRIES_IGNORED": "run `manageboot bootloader install` and reboot, or set boot.tries to 1",
    "GRUB_CFG_DIFFERS": "run `manageboot bootloader check`, then `manageboot bootloader install`",
    "GRUB_MODULES": grubcfg.MODULES_HINT,
    "SECOND_WITNESS_BEHIND": "run `manageboot confirm`",
    "UPDATES_INCOMPLETE": f"set it, as docs/unattended.md says; or run `systemctl disable {updating.TIMER}`",
}
"""What to do about each finding; the code word keeps its meaning."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    code: str
    text: str

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]


def examine(config: Config) -> dict[str, Any]:
    """Look at everything, and return it as `doctor --json` prints it.

    Raises:
        DeviceError, NotPermittedError: the block can't be read.
        DevicesUnknownError: the devices can't be looked for.
    """
    findings: list[Finding] = []
    unknown: list[str] = []
    try:
        node = observe(config)
    except errors.BootedSlotUnknownError as error:
        findings.append(Finding("NO_BOOTED_SLOT", str(error)))
    except (errors.BlockDamagedError, errors.BlockMissingError) as error:  # offline, the block alone tells
        findings.append(Finding(error.code, str(error)))
    else:
        findings += [
            *_block(node, unknown),
            *_protocol(config, node, unknown),
            *_grub(config, node, unknown),
            *_devices(config, node, unknown),
            *(() if node.offline else (Finding("UPDATES_INCOMPLETE", text) for text in updating.missing(config))),
        ]
    return {
        "schema": SCHEMA,
        "sound": not findings,
        "findings": [{"code": one.code, "text": one.text, "remedy": one.remedy} for one in findings],
        "unknown": unknown,
    }


def render(report: dict[str, Any]) -> str:
    """Write a report for a person."""
    lines = ["nothing is wrong with the boot chain of this node"] if report["sound"] else []
    for finding in report["findings"]:
        lines += [f"{finding['code']}: {finding['text']}", f"  remedy: {finding['remedy']}"]
    return "\n".join(map(one_line, lines + [f"not looked at: {text}" for text in report["unknown"]]))


def _block(node: Node, unknown: list[str]) -> Iterator[Finding]:
    path = node.environment.path
    if node.environment.problem is not None:
        yield Finding(node.environment.problem.code, str(node.environment.problem))
    elif node.environment.condition is Condition.ABSENT:
        yield Finding("NO_BLOCK", f"{path} does not exist; GRUB boots slot {node.state.block.alternative}")
    else:
        yield from _writable(path, unknown)
    if not node.offline and grubcommon.rewrites(str(path)):
        yield Finding("BLOCK_REWRITTEN", f"{grubcommon.UNIT} empties {path} at each boot, and writes it anew")
    if node.environment.condition is Condition.OK:
        try:
            report = grubenv.check(path, (envblock.ALTERNATIVE, envblock.CYCLE, *markers.BOOT_NAMES))
        except grubenv.GrubEnvError as error:
            unknown.append(str(error))
            return
        unknown += report.unknown
        for damage in report.damages:
            yield Finding("BLOCK_UNSOUND", f"{path}: {damage.word}: {damage}")


def _writable(path: "str | grubenv.Inside", unknown: list[str]) -> Iterator[Finding]:
    """Ask whether a verb could write the block: a commit, a confirm and a rollback do nothing else."""
    found = writable.obstacle(path)
    if found is None:
        return
    if found.denied:
        unknown.append(f"whether {path} can be written: only root may, so run it as root")
    else:
        yield Finding("BLOCK_READ_ONLY", f"{path} can't be written: {found.cause}")


def _protocol(config: Config, node: Node, unknown: list[str]) -> Iterator[Finding]:
    """Compare block, kernel command line and record."""
    if ownership.of(config.boot) is Ownership.BORROWED:
        unknown.append(f"block, kernel command line and records: {status.BORROWED}")
        return
    if node.record_problem is not None:
        yield Finding("RECORD_DAMAGED", str(node.record_problem))
    if node.environment.state is None:
        return
    state = node.state
    if state.phase is Phase.CONFLICT:
        yield Finding("CONFLICT", describe(state))
    if state.grub_wrote_nothing:
        yield Finding("GRUB_DID_NOT_WRITE", status.not_written(node))
    fell_back = fallback.detect(node)
    if fell_back is not None:
        yield Finding("FELL_BACK", f"slot {fell_back.slot} was committed: {fell_back.text} ({fell_back.cause})")
    fault = "" if node.grub is None else node.grub.fault
    never = fell_back is not None and fell_back.cause is fallback.Cause.NEVER_STARTED
    if never and not node.by_grub:
        unknown.append("which block decided at this boot: no GRUB did")
    elif never and fault != "unwritable":
        yield Finding("GRUB_READS_OTHER_BLOCK", f"{describe(state)}, and the node was rebooted since")
    elif node.grub is not None and state.phase is Phase.TRIAL and node.grub.nonce != node.environment.markers.nonce:
        found, wanted = node.grub.nonce or "none", node.environment.markers.nonce or "none"
        yield Finding("GRUB_READS_OTHER_BLOCK", f"GRUB read the nonce {found}, the block has {wanted}")


def _grub(config: Config, node: Node, unknown: list[str]) -> Iterator[Finding]:
    """Judge what GRUB said on the kernel command line, and its script."""
    grub = node.grub
    if grub is None:
        if not node.by_grub:
            # The next boot may be one by GRUB again; whether it is, no guest can see.
            unknown.append(f"grub.cfg and GRUB's modules: {status.WITHOUT_GRUB}")
        # A grub.cfg of IC-OS is no fault; it only can't do what was asked for here.
        if config.boot.tries > 1:
            who = "GRUB's script" if node.by_grub else "what started this kernel"
            yield Finding("TRIES_IGNORED", f"boot.tries is {config.boot.tries}, and {who} knows one try")
        return
    if grub.fault == "unwritable":
        yield Finding("GRUB_CANNOT_WRITE", f"GRUB could not write {node.environment.path}, so it started no trial")
    if grub.fault == "damaged":
        yield Finding("GRUB_FOUND_DAMAGE", f"GRUB could not use {node.environment.path} and took slot {node.booted}")
    if grub.fault == "unloadable" and node.environment.state is not None and node.state.phase is Phase.CONFLICT:
        yield Finding("TRUSTED_SLOT_UNLOADABLE", f"GRUB could not load slot {node.booted.other}, which is trusted")
    yield from _script(config, unknown)
    block = node.environment.state
    settled = block is not None and block.cycle is Cycle.STABLE and block.alternative is node.booted
    if settled and trusted.read(node.environment.path) is not node.booted:
        yield Finding("SECOND_WITNESS_BEHIND", f"{trusted.path_of(node.environment.path)} does not name {node.booted}")


def _script(config: Config, unknown: list[str]) -> Iterator[Finding]:
    """Compare GRUB's script with the shipped one, and ask for the modules that it uses."""
    try:
        if grubcfg.compare(config).differences:
            yield Finding("GRUB_CFG_DIFFERS", f"{grubcfg.path_of(config)} is an older version, or was changed")
    except errors.ManagebootError as error:
        yield Finding("GRUB_CFG_DIFFERS", str(error))
    try:
        lost = grubcfg.missing_modules(config.boot.directory, modules.NEEDED + modules.USED)
    except errors.ManagebootError as error:
        unknown.append(str(error))
    else:
        if lost:
            yield Finding("GRUB_MODULES", f"GRUB's script uses {', '.join(lost)}, which is missing")


def _devices(config: Config, node: Node, unknown: list[str]) -> Iterator[Finding]:
    """Ask whether the slots' devices are there, and whether the mounted root is the booted slot's."""
    roots: dict[Slot, int] = {}
    for slot, specs in config.slots.items():
        for role, spec in specs.items():
            try:
                path = devices.find(spec)
                number = devices.device_number(path)
                if number is None:
                    raise errors.DeviceMissingError(f"cannot find {path}: it is not a block device")
            except errors.DevicesUnknownError:
                raise
            except errors.ManagebootError as error:
                yield Finding("NO_DEVICE", f"slots.{slot}.{role}: {error}")
                continue
            if role == "root":
                roots[slot] = number
        try:
            devices.find_together(specs)
        except errors.DevicesScatteredError as error:
            yield Finding("DEVICES_SCATTERED", f"slot {slot}: {error}")
        except errors.ManagebootError:
            pass  # named above
    if not node.offline:
        yield from _mounted_root(node, roots, unknown)


def _mounted_root(node: Node, roots: dict[Slot, int], unknown: list[str]) -> Iterator[Finding]:
    try:
        below = devices.layers(os.stat("/").st_dev)
    except errors.DevicesUnknownError as error:
        unknown.append(f"whether / is the booted slot's root: {error}")
        return
    if roots.get(node.booted.other) in below:
        yield Finding("ROOT_OF_OTHER_SLOT", f"slot {node.booted} is booted, and / is the root of {node.booted.other}")
    elif roots.get(node.booted) not in below:
        unknown.append("whether / is the booted slot's root: it lies on neither slot's")
