"""What is measured: gauges that follow from one look at the node and from its history.

So every writer writes the same: verbs and daemon, before and after a reboot.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from manageboot.boot.envblock import Condition
from manageboot.boot.fallback import Cause
from manageboot.boot.node import Node
from manageboot.events.history import Entry
from manageboot.protocol import Cycle, Phase, Slot

Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One gauge: its values by their labels."""

    name: str
    text: str
    values: Mapping[Labels, float]


def of_node(node: Node | None) -> list[Metric]:
    """Measure the node as it is; None: it could not be looked at."""
    state = node.state if node is not None and node.environment.state is not None else None
    phase = "unreadable" if state is None else state.phase.value
    booted = None if node is None else node.booted
    condition = None if node is None else node.environment.condition
    return [
        _one_of("manageboot_booted_slot", "1 for the slot that runs.", "slot", Slot, booted),
        _one_of("manageboot_state", "1 for the state that status tells.", "state", [*Phase, "unreadable"], phase),
        _one_of(
            "manageboot_environment_block",
            "1 for the condition of the environment block.",
            "condition",
            Condition,
            condition,
        ),
    ]


def of_history(happened: Sequence[Entry]) -> list[Metric]:
    """Measure what the history tells, the oldest first; what never happened has no sample."""
    causes: dict[str, float] = {cause.value: 0 for cause in Cause}
    installed = confirmed = None
    for entry in happened:
        match entry.event:
            case "fallback":
                cause = entry.cause or Cause.UNKNOWN.value
                causes[cause] = causes.get(cause, 0) + 1
            case "installed":
                installed = entry
            case "confirmed":
                confirmed = entry
    fallbacks: dict[Labels, float] = {(("cause", cause),): count for cause, count in causes.items()}
    metrics = [Metric("manageboot_fallbacks", "Trials that did not stay, as far back as the history goes.", fallbacks)]
    if installed is not None:
        prefix = "manageboot_last_install"
        metrics += _single(f"{prefix}_timestamp_seconds", "When it was complete, by the clock.", _time(installed))
        metrics += _single(f"{prefix}_duration_seconds", "How long it took.", installed.seconds)
        metrics += _single(f"{prefix}_written_bytes", "What went to the devices.", installed.written_bytes)
    if confirmed is not None:
        text = "From the boot of the last confirmed trial to its confirm."
        metrics += _single("manageboot_boot_to_confirm_seconds", text, confirmed.seconds)
    return metrics


def of_devices(present: Iterable[tuple[str, str]], failed: Iterable[tuple[str, str]]) -> Metric:
    """Measure the devices of the slots, each a slot and a role in it."""
    lost = set(failed)
    values: dict[Labels, float] = {
        (("slot", slot), ("role", role)): float((slot, role) not in lost) for slot, role in present
    }
    return Metric("manageboot_device_healthy", "Whether a device of a slot is there and works.", values)


def boot_stable(system: str, node: Node | None) -> Metric:
    """Say whether the booted slot is trusted, as IC-OS does: by the block alone."""
    block = None if node is None else node.environment.state
    stable = block is not None and block.cycle in {Cycle.INSTALL, Cycle.STABLE}
    return Metric(f"{system}_boot_stable", f"{system} is boot stable", {(): float(stable)})


def boot_action(system: str, labels: Labels, value: int) -> Metric:
    """Say what was last done, in the one sample that IC-OS has for it."""
    return Metric(f"{system}_boot_action", f"{system} boot action", {labels: value})


def _single(name: str, text: str, value: float | None) -> list[Metric]:
    return [] if value is None else [Metric(name, text, {(): value})]


def _one_of(name: str, text: str, label: str, choices: Iterable[str], chosen: str | None) -> Metric:
    return Metric(name, text, {((label, str(choice)),): float(choice == chosen) for choice in choices})


def _time(entry: Entry) -> float | None:
    try:
        return datetime.fromisoformat(entry.time).timestamp()
    except (ValueError, OverflowError):
        return None
