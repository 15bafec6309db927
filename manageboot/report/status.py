"""The state of the node: all that is known, gathered for programs; `page` writes it for people."""

import time
from typing import Any

from grubenv import Inside
from manageboot import errors
from manageboot.boot import fallback, ownership, record
from manageboot.boot.fallback import Fallback
from manageboot.boot.node import Node, observe, running_version
from manageboot.boot.ownership import Ownership
from manageboot.config import Config
from manageboot.daemon import statefile
from manageboot.events import history
from manageboot.protocol import BootState, Phase, Slot, Verb, describe
from manageboot.report import advice, updating, vouching
from manageboot.system import lock
from manageboot.upgrade import inhibit

SCHEMA = 1

BORROWED = "this machine runs from the disk of another one, and changes nothing there"
_SHOWN_EVENTS = 3

WITHOUT_GRUB = "no GRUB started this kernel: a host that boots its guest directly, or kexec"


def collect(config: Config) -> dict[str, Any]:
    """Gather all that is known, as `status --json` prints it. Writes nothing, takes no lock.

    Raises:
        BootedSlotUnknownError: the kernel command line does not name a slot.
        InputError, DeviceError, NotPermittedError: the block can't be read.
    """
    node = observe(config)
    block = node.environment.state
    path = node.environment.path
    running = lock.holder(config.state.lock)
    state = None if block is None else node.state
    fell_back = fallback.detect(node)
    owns = ownership.of(config.boot)
    channel, unreadable = vouching.collect(config)
    update, forgotten = updating.collect(config, offline=node.offline)
    daemon = {**statefile.to_json(config.state.runtime_directory), "held": inhibit.active(config)}
    version = None if node.offline else running_version()
    status = {
        "schema": SCHEMA,
        "profile": config.profile,
        "disk": path.device if isinstance(path, Inside) else None,
        "disk_user": node.disk_user,
        "may_be_stale": node.disk_user is not None,
        "state": "unreadable" if state is None else state.phase.value,
        "explanation": BORROWED if owns is Ownership.BORROWED else _describe(node, state),
        "booted": node.booted.value,
        "passive": node.booted.other.value,
        "next": None if block is None else block.next.value,
        "next_because": advice.why_next(node, state),
        "version": version,
        "running": running,
        "progress": None if running is None else _progress(config, running),
        "block": {
            "path": str(path),
            "condition": node.environment.condition.value,
            "boot_alternative": None if block is None else block.alternative.value,
            "boot_cycle": None if block is None else block.cycle.value,
            "traces": node.environment.markers._asdict(),
        },
        "loader": loader(node),
        "ownership": owns.value,
        "grub": None if node.grub is None else {key.rstrip("_"): word for key, word in node.grub._asdict().items()},
        "fallback": None if fell_back is None else {"slot": fell_back.slot.value, "cause": fell_back.cause.value},
        "slots": {slot.value: _slot(config, node, slot, state, version, running) for slot in Slot},
        "channel": channel,
        "update": update,
        "daemon": daemon,
        "confirms_itself": config.confirm.policy == "automatic",
        "aborted": state is not None and advice.is_aborted(node, state),
        "deadline_left_s": _left(daemon["deadline_s"]),
        "events": _last_events(config),
        "problems": []
        if owns is Ownership.BORROWED
        else _problems(node, state, fell_back) + _found_by(daemon) + unreadable + forgotten,
    }
    status["to_do"] = advice.what_to_do(status)
    return status


def loader(node: Node) -> str | None:
    """Name what started the kernel: GRUB with our grub.cfg, with another one, or else no GRUB; None: it is off."""
    if node.offline:
        return None
    if not node.by_grub:
        return "other"
    return "grub" if node.grub is None else "manageboot"


def not_written(node: Node) -> str:
    """Say that a trial was started, and that this does not stand in the block."""
    if node.by_grub:
        return f"GRUB started slot {node.booted} and could not record the try"
    return f"slot {node.booted} was started without GRUB, and nobody recorded the try"


def _describe(node: Node, state: BootState | None) -> str:
    if state is None:
        return str(node.environment.problem)
    if node.offline and state.phase is Phase.IDLE:
        return f"slot {state.booted} is trusted, and counts as booted"
    return describe(state)


def _found_by(daemon: dict[str, Any]) -> list[dict[str, str]]:
    """Turn what the daemon found into problems."""
    problems = [{"code": "DEVICE_LOST", "text": f"{key}: {cause}"} for key, cause in daemon["devices"].items()]
    if daemon["overdue"]:
        problems.append({"code": "REBOOT_MISSING", "text": "a reboot was asked for, and did not come"})
    checks = [] if daemon["health"] is None else daemon["health"]["checks"]
    for check in checks:
        if check["result"] != "passed":
            last = check["text"].splitlines()[-1:] or ["it printed nothing"]
            problems.append({"code": "CHECK_FAILED", "text": f"check {check['name']} {check['result']}: {last[0]}"})
    return problems


def _progress(config: Config, running: str) -> dict[str, Any] | None:
    # Imported here: mostly nothing runs, and `status` is asked often.
    from manageboot.install import progressfile

    return progressfile.read(config.state.runtime_directory, running)


def _slot(
    config: Config, node: Node, slot: Slot, state: BootState | None, version: str | None, running: str | None
) -> dict[str, Any]:
    entry = node.records.get(slot)
    recorded = None if entry is None else entry.version
    installs = running is not None and running.partition(" ")[2] == Verb.INSTALL
    return {
        "now": advice.now(slot, node, state, installs=installs).value,
        "version": (version or recorded) if slot is node.booted else recorded,
        "devices": {role: config.slots[slot].get(role) for role in config.roles.written + config.roles.wiped},
        "record": None if entry is None else record.to_json(entry),
    }


def _left(deadline_s: float | None) -> float | None:
    """Return how long it is until then, in seconds; None: there is no deadline."""
    if deadline_s is None:
        return None
    return round(max(0.0, deadline_s - time.clock_gettime(time.CLOCK_BOOTTIME)), 1)


def _last_events(config: Config) -> list[dict[str, Any]] | None:
    """Return the last events, the oldest first; None: the history can't be read, which `history` says why."""
    try:
        entries = history.last(config, _SHOWN_EVENTS)
    except errors.ManagebootError:
        return None
    return [history.entry_to_json(entry) for entry in entries]


def _problems(node: Node, state: BootState | None, fell_back: Fallback | None) -> list[dict[str, str]]:
    damaged = (node.environment.problem, node.record_problem)
    problems = [{"code": error.code, "text": str(error)} for error in damaged if error is not None]
    if state is None:
        return problems
    if state.phase is Phase.CONFLICT:
        problems.append({"code": errors.ConflictError.code, "text": describe(state)})
    if state.grub_wrote_nothing:
        problems.append({"code": "GRUB_DID_NOT_WRITE", "text": not_written(node)})
    if fell_back is not None:
        text = f"slot {fell_back.slot} was committed, and slot {state.booted} runs: {fell_back.text}"
        problems.append({"code": "FELL_BACK", "text": text})
    return problems
