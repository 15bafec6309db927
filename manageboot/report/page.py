"""What `status` prints for a person: both slots side by side, what boots next, and what to do now."""

from collections.abc import Callable
from typing import Any

from manageboot.report import updating, vouching
from manageboot.report.advice import Now
from manageboot.report.status import WITHOUT_GRUB
from manageboot.system import terminal
from manageboot.system.terminal import BOLD, DIM, GREEN, PLAIN, RED, YELLOW, Screen
from manageboot.system.text import joined, one_line

_LABEL_COLUMNS = 8
_GAP_COLUMNS = 2
_SHORT_DIGITS = 12
"""Enough of a hash to tell two apart."""
_BAR_COLUMNS = 20

_WORDS = {
    Now.TRUSTED: ("booted, trusted", GREEN),
    Now.BOOTED: ("booted", YELLOW),
    Now.TRIAL: ("booted, on trial", YELLOW),
    Now.WAY_BACK: ("way back", GREEN),
    Now.COMMITTED: ("committed, boots next on trial", YELLOW),
    Now.INSTALLED: ("installed, ready to commit", GREEN),
    Now.INSTALLING: ("being written", YELLOW),
    Now.UNFINISHED: ("void, its installation did not finish", RED),
    Now.FELL_BACK: ("did not stay", RED),
    Now.VOID: ("void", RED),
    Now.UNKNOWN: ("not known", DIM),
}
_STATE_STYLES = {"idle": GREEN, "pending": YELLOW, "trial": YELLOW, "conflict": RED, "unreadable": RED}


def render(status: dict[str, Any], screen: Screen = PLAIN) -> str:
    """Write what `status.collect` gathered for a person.

    Args:
        status: as `collect` returns it.
        screen: where it goes. In a pipe each statement is one line, whatever its length; only the cells of the table
            are broken.
    """

    def line(label: str, text: str, style: str = "") -> None:
        # What records, checks and the daemon tell may have any text in it.
        whole = one_line(text)
        room = screen.columns - _LABEL_COLUMNS
        parts = terminal.wrapped(whole, room) if screen.terminal else [whole]
        for number, part in enumerate(parts):
            head = screen.paint(f"{'' if number else label:{_LABEL_COLUMNS - 1}}", DIM)
            lines.append(f"{head} {screen.paint(part, style)}")

    lines: list[str] = []
    if status["disk"]:
        line("disk", f"{status['disk']}, {_whose(status)}")
    line("state", f"{status['state']}: {status['explanation']}", _STATE_STYLES.get(status["state"], ""))
    because = f": {status['next_because']}" if status["next_because"] else ""
    line("next", f"{status['next'] or 'unknown'}{because}")
    line("block", f"{status['block']['path']}: {_what_it_says(status['block'])}")
    if status["loader"] == "other":
        line("loader", WITHOUT_GRUB)
    lines += ["", *_table(status, screen), ""]
    if status["running"]:
        line("running", f"{status['running']}{how_far(status['progress'], bar=screen.terminal)}", YELLOW)
    for label, said in vouching.render(status["channel"]) + updating.render(status["update"]):
        line(label, said)
    _trial(status, line)
    _daemon(status["daemon"], line)
    if status["events"] is None:
        line("event", "the history can't be read; `manageboot history` says why")
    for event in status["events"] or ():
        line("event", f"{_minute(event['time'])}  {event['slot']}  {joined(event['message'])}")
    for problem in status["problems"]:
        line("problem", f"{problem['text']} [{problem['code']}]", RED)
    line("do", status["to_do"], BOLD)
    return "\n".join(lines)


def how_far(progress: dict[str, Any] | None, *, bar: bool = False) -> str:
    """Say how far an installation is; an empty text where nobody knows.

    Args:
        progress: as `progressfile.read` returns it.
        bar: whether a bar is drawn as well.
    """
    if progress is None:
        return ""
    done, total, seconds = progress["bytes_done"], progress["bytes_total"], progress["seconds"]
    if not total:
        return f": {progress['phase']}, {_size(done)}, {seconds:.0f} s"
    share = min(1.0, done / total)
    drawn = f"[{'#' * int(share * _BAR_COLUMNS):.<{_BAR_COLUMNS}}] " if bar else ""
    left_s = progress.get("seconds_left")
    left = "" if left_s is None else f", {_time(left_s)} left"
    return f": {progress['phase']}, {drawn}{share:.0%}, {_size(done)} of {_size(total)}, {seconds:.0f} s{left}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


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


def _table(status: dict[str, Any], screen: Screen) -> list[str]:
    """Put both slots beside each other."""
    slots = status["slots"]
    room = (screen.columns - _LABEL_COLUMNS - _GAP_COLUMNS) // 2
    rows = [("", [("slot " + slot, BOLD) for slot in slots])]
    rows.append(("now", [_now(status, values["now"]) for values in slots.values()]))
    rows.append(("version", [(values["version"] or "not known", "") for values in slots.values()]))
    rows.append(("origin", [(_origin(values, status), "") for values in slots.values()]))
    roles = next(iter(slots.values()))["devices"]
    rows += [(role, [(_device(values, role, room), "") for values in slots.values()]) for role in roles]
    lines = []
    for label, cells in rows:
        broken = [[part for text in cell.split("\n") for part in terminal.wrapped(one_line(text), room)]
                  for cell, _ in cells]  # fmt: skip
        height = max(map(len, broken))
        for number in range(height):
            head = screen.paint(f"{'' if number else label:{_LABEL_COLUMNS - 1}}", DIM)
            texts = [part[number] if number < len(part) else "" for part in broken]
            padded = [screen.paint(text, style) + " " * (room - len(text))
                      for text, (_, style) in zip(texts, cells, strict=True)]  # fmt: skip
            lines.append(f"{head} {(' ' * _GAP_COLUMNS).join(padded)}".rstrip())
    return lines


def _now(status: dict[str, Any], word: str) -> tuple[str, str]:
    if status["disk"] and word == Now.TRUSTED:
        return "trusted, counts as booted", GREEN
    return _WORDS[Now(word)]


def _origin(values: dict[str, Any], status: dict[str, Any]) -> str:
    """Say when and how a system came into a slot; a line for each step."""
    entry = values["record"]
    if entry is None and status["disk"]:
        return "no record on this machine"
    if entry is None or (entry["state"] == "confirmed" and "installed" not in entry):
        steps = ["factory system, not installed by manageboot"] if entry or _runs(values) else ["no record of it"]
    else:
        steps = _steps(entry)
    if entry is not None:
        steps += [f"{step} {_minute(entry[step])}" for step in ("committed", "confirmed") if step in entry]
        if "failure" in entry:
            steps.append(f"failed: {entry['failure']}")
    return "\n".join(steps)


def _steps(entry: dict[str, Any]) -> list[str]:
    source = "" if "source" not in entry else f"from {'standard input' if entry['source'] == '-' else entry['source']}"
    if "installed" in entry:
        digest = entry.get("source_sha256")
        return [
            f"installed {_minute(entry['installed'])}",
            *([source] if source else []),
            *([f"sha256 {digest[:_SHORT_DIGITS]}"] if digest else []),
        ]
    if "started" in entry:
        return [f"begun {_minute(entry['started'])}", *([source] if source else [])]
    return ["the installation was taken back"] if entry["state"] == "void" else []


def _runs(values: dict[str, Any]) -> bool:
    return values["now"] in {Now.TRUSTED, Now.BOOTED, Now.TRIAL, Now.WAY_BACK}


def _device(values: dict[str, Any], role: str, room: int) -> str:
    device = values["devices"][role]
    if device is None:
        return "none"
    if len(device) > room and device.startswith(("PARTUUID=", "UUID=")):
        # Its first digits tell it from others; --json has all.
        device = f"{device[: room - 3]}..."
    # In a record the roles are keys of its own.
    image = (values["record"] or {}).get(role)
    return device if image is None else f"{device} {image['digest'][:_SHORT_DIGITS]}"


def _trial(status: dict[str, Any], line: Callable[..., None]) -> None:
    if status["state"] != "trial" or status["disk"]:
        return
    left = status["deadline_left_s"]
    if status["aborted"]:
        line("trial", f"aborted; the next boot is one of slot {status['passive']}", YELLOW)
    elif left is None:
        line("trial", "no deadline: it goes on until a confirm, a rollback or a reboot", YELLOW)
    elif status["daemon"]["held"]:
        line("trial", "the deadline does not count while the daemon is paused", YELLOW)
    else:
        line("trial", f"aborted in {_span(left)}, unless it is confirmed", YELLOW)


def _daemon(daemon: dict[str, Any], line: Callable[..., None]) -> None:
    if daemon["running"]:
        line("daemon", daemon["status"])
    if daemon["held"]:
        line("hold", "the daemon is paused until `manageboot confirm --release`, or a reboot")
    health = daemon["health"]
    if health is not None:
        style = {"good": GREEN, "bad": RED}.get(health["verdict"], YELLOW)
        line("health", f"{health['verdict']}{': ' if health['doing'] else ''}{health['doing']}", style)
        for check in health["checks"]:
            line("check", f"{check['name']}: {check['result']}", GREEN if check["result"] == "passed" else RED)


def _minute(moment: str) -> str:
    """Shorten a time of a record, which is UTC in ISO 8601."""
    return f"{moment[:10]} {moment[11:16]} UTC" if moment[10:11] == "T" and moment.endswith("+00:00") else moment


def _span(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _size(count: float) -> str:
    for unit, shift in (("KiB", 10), ("MiB", 20)):
        if count < 10 << (shift + 10):
            return f"{count / (1 << shift):.0f} {unit}"
    return f"{count / (1 << 30):.1f} GiB"
