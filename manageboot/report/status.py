"""The state of the node, for people and for programs."""

from typing import Any

from grubenv import Inside
from manageboot import errors
from manageboot.boot import fallback, ownership, record
from manageboot.boot.fallback import Fallback
from manageboot.boot.node import Node, observe, running_version
from manageboot.boot.ownership import Ownership
from manageboot.config import Config
from manageboot.daemon import statefile
from manageboot.install import progressfile
from manageboot.protocol import BootState, Phase, Slot, describe
from manageboot.report import vouching
from manageboot.system import lock
from manageboot.system.text import one_line
from manageboot.upgrade import inhibit

SCHEMA = 1

BORROWED = "this machine runs from the disk of another one, and changes nothing there"
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
    daemon = {**statefile.to_json(config.state.runtime_directory), "held": inhibit.active(config)}
    return {
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
        "version": None if node.offline else running_version(),
        "running": running,
        "progress": progressfile.read(config.state.runtime_directory, running),
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
        "slots": {slot.value: _slot(config, node, slot) for slot in Slot},
        "channel": channel,
        "daemon": daemon,
        "problems": []
        if owns is Ownership.BORROWED
        else _problems(node, state, fell_back) + _found_by(daemon) + unreadable,
    }


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


def render(status: dict[str, Any]) -> str:
    """Write what `collect` gathered for a person."""
    lines = [
        *([f"disk    {status['disk']}, {_whose(status)}"] if status["disk"] else []),
        f"state   {status['state']}: {status['explanation']}",
        f"booted  {status['booted']}  {status['version'] or 'version unknown'}",
        f"next    {status['next'] or 'unknown'}",
        f"block   {status['block']['path']}: {_what_it_says(status['block'])}",
    ]
    if status["loader"] == "other":
        lines.append(f"loader  {WITHOUT_GRUB}")
    for slot, values in status["slots"].items():
        entry = values["record"]
        words = [f"slot {slot} "]
        if entry is None:
            words.append("no record")
        else:
            words += [entry["state"], entry.get("version", "")]
            moment = next((key for key in ("confirmed", "committed", "installed", "started") if key in entry), None)
            if moment is not None:
                words.append(f"{moment} {entry[moment]}")
            if "failure" in entry:
                words.append(f"failed: {entry['failure']}")
        lines.append("  ".join(word for word in words if word))
    lines += vouching.render(status["channel"])
    if status["running"]:
        lines.append(f"running {status['running']}{_how_far(status['progress'])}")
    lines += _daemon_lines(status["daemon"])
    lines += [f"problem {problem['text']} [{problem['code']}]" for problem in status["problems"]]
    # What records and the daemon tell may have any text in it.
    return "\n".join(map(one_line, lines))


def _whose(status: dict[str, Any]) -> str:
    if status["may_be_stale"]:
        return f"whose system may run, so all this may be stale: {status['disk_user']}"
    return "whose system is stopped"


def _what_it_says(block: dict[str, Any]) -> str:
    condition = str(block["condition"])
    if block["boot_alternative"] is None:
        return f"unreadable ({condition})" if condition == "damaged" else condition
    variables = f"boot_alternative={block['boot_alternative']} boot_cycle={block['boot_cycle']}"
    return variables if condition == "ok" else f"{variables} ({condition})"


def _daemon_lines(daemon: dict[str, Any]) -> list[str]:
    lines = [f"daemon  {daemon['status']}"] if daemon["running"] else []
    if daemon["held"]:
        lines.append("hold    the daemon is paused until `manageboot confirm --release`, or a reboot")
    health = daemon["health"]
    if health is not None:
        lines.append(f"health  {health['verdict']}{': ' if health['doing'] else ''}{health['doing']}")
        lines += [f"check   {check['name']}: {check['result']}" for check in health["checks"]]
    return lines


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


def _how_far(progress: dict[str, Any] | None) -> str:
    if progress is None:
        return ""
    total = "" if progress["bytes_total"] is None else f" of {progress['bytes_total']}"
    return f": {progress['phase']}, {progress['bytes_done']}{total} bytes of the image, {progress['seconds']:.0f} s"


def _slot(config: Config, node: Node, slot: Slot) -> dict[str, Any]:
    entry = node.records.get(slot)
    return {
        "devices": {role: config.slots[slot].get(role) for role in config.roles.written + config.roles.wiped},
        "record": None if entry is None else record.to_json(entry),
    }


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
