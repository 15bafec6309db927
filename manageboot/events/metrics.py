"""Metrics, as text files that node_exporter collects; the only module that imports prometheus_client.

They are gauges that follow from one look at the node and from its history, so every writer writes the same: verbs and
daemon, before and after a reboot. Those of IC-OS have the names, labels and files that its dashboards know; ours are in
`manageboot.prom`. Whoever writes holds the lock of the history.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from manageboot import errors
from manageboot.boot.envblock import Condition
from manageboot.boot.fallback import Cause
from manageboot.boot.node import Node, running_version
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.events.history import Entry
from manageboot.protocol import Cycle, Phase, Slot
from manageboot.system import files
from manageboot.system.text import encodable

if TYPE_CHECKING:
    from manageboot.fetch.mirrors import Traffic

_IC_OS = ("guestos", "hostos")
"""The profiles that have the metrics of IC-OS, whose names begin like that."""


Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One gauge: its values by their labels."""

    name: str
    text: str
    values: Mapping[Labels, float]


class Update(NamedTuple):
    """How the last unattended update ended; times are in seconds since 1970, None: there is none."""

    results: Sequence[str]
    """How one may end."""
    result: str
    code: str | None
    """The code word of the error that ended it."""
    ran: int
    looked: int | None
    waiting_index: int
    """That of a release that waits for its installation, its turn, its window or its commit; 0: none does."""
    opens: int | None
    """When the window opens, or opened."""
    set_aside: int
    """How many releases are not taken again."""


def wanted(config: Config) -> bool:
    """Say whether anybody collects metrics here."""
    return os.path.isdir(config.metrics.directory)


def write(config: Config, node: Node | None, happened: Sequence[Entry]) -> None:
    """Write all metrics but those of the devices anew.

    Args:
        config: the settings; where the directory is missing, nothing is done.
        node: one look at it, or None where that is not possible.
        happened: what the history has, the oldest first.

    Raises:
        CreateError, DeviceError, NotPermittedError: they can't be written; each file is the old or the new one.
    """
    if not wanted(config):
        return
    if config.profile in _IC_OS:
        _write(config, f"{config.profile}_boot_stable", [_boot_stable(config.profile, node)])
        if node is not None:
            _write_action(config, node, happened)
    _write(config, "manageboot", [*of_node(node), *of_history(happened)])


def write_image(config: Config, role: str, path: str) -> None:
    """Write that an image went to its device; only IC-OS has a metric for that.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.
    """
    if config.profile in _IC_OS and wanted(config):
        _write_sample(config, ((f"written_{_as_label(role)}", path),), 1)


def write_devices(config: Config, failed: Mapping[str, str]) -> None:
    """Write which devices of the slots are there; in a file of its own, because only the daemon knows.

    Args:
        config: the settings; where the directory is missing, nothing is done.
        failed: what is wrong with a device, by its key in the configuration, such as "slots.A.root".

    Raises:
        CreateError, DeviceError, NotPermittedError: they can't be written.
    """
    if not wanted(config):
        return
    present = [(slot.value, role) for slot, specs in config.slots.items() for role in specs]
    lost = [(slot, role) for slot, role in present if f"slots.{slot}.{role}" in failed]
    _write(config, "manageboot_devices", [of_devices(present, lost)])


def write_update(config: Config, update: Update) -> None:
    """Write how the last unattended update ended; in a file of its own, because only its run knows.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.
    """
    if wanted(config):
        _write(config, "manageboot_update", of_update(update))


def write_fetch(config: Config, traffic: "Sequence[Traffic]") -> None:
    """Write what the last installation from a network had from its mirrors; in a file of its own, as only it knows.

    Raises:
        CreateError, DeviceError, NotPermittedError: it can't be written.
    """
    if wanted(config):
        _write(config, "manageboot_fetch", of_fetch(traffic))


def of_node(node: Node | None) -> list[Metric]:
    """Measure the node as it is; None: it could not be looked at."""
    state = node.state if node is not None and node.environment.state is not None else None
    phase = "unreadable" if state is None else state.phase.value
    booted = None if node is None else node.booted
    condition = None if node is None else node.environment.condition
    return [
        _one_of("manageboot_booted_slot", "1 for the slot that runs.", "slot", Slot, booted),
        _one_of("manageboot_state", "1 for the state that status shows.", "state", [*Phase, "unreadable"], phase),
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


def of_update(update: Update) -> list[Metric]:
    """Measure an unattended update."""
    prefix = "manageboot_update"
    failed: Mapping[Labels, float] = {} if update.code is None else {(("code", update.code),): 1}
    return [
        _one_of(f"{prefix}_result", "1 for how the last update ended.", "result", update.results, update.result),
        *([Metric(f"{prefix}_error", "1 for the code word of the error that ended it.", failed)] if failed else []),
        *_single(f"{prefix}_run_timestamp_seconds", "When it was, by the clock.", update.ran),
        *_single(f"{prefix}_look_timestamp_seconds", "When the channel was last read, by the clock.", update.looked),
        *_single(f"{prefix}_release_waiting_index", "Index of the release that waits; 0: none.", update.waiting_index),
        *_single(f"{prefix}_window_opens_timestamp_seconds", "When the window opens, or opened.", update.opens),
        *_single(f"{prefix}_releases_set_aside", "Releases that did not stay here.", update.set_aside),
    ]


def of_fetch(traffic: "Sequence[Traffic]") -> list[Metric]:
    """Measure what mirrors did in a run; there is at least one."""

    def each(name: str, text: str, values: Iterable[float]) -> Metric:
        by_mirror = zip(traffic, values, strict=True)
        return Metric(f"manageboot_fetch_{name}", text, {(("mirror", one.mirror),): value for one, value in by_mirror})

    failed: Mapping[Labels, float] = {
        (("mirror", one.mirror), ("code", one.code)): 1 for one in traffic if one.code is not None
    }
    text = "1 for the code word of its last failure."
    return [
        each("requests", "What a mirror was asked in the last installation.", (one.requests for one in traffic)),
        each("bytes", "What came of it.", (one.bytes for one in traffic)),
        each("skipped_bytes", "What came before the part that was asked for.", (one.skipped for one in traffic)),
        each("retries", "Requests that failed.", (one.retries for one in traffic)),
        each("mirror_out", "1 for a mirror that lied.", (one.is_out for one in traffic)),
        *([Metric("manageboot_fetch_error", text, failed)] if failed else []),
    ]


def _write_action(config: Config, node: Node, happened: Sequence[Entry]) -> None:
    """Write the last thing that was done in this boot, if it is one that IC-OS has a sample for."""
    state = node.environment.state
    version = ("version", running_version() or "unknown")
    for entry in reversed(happened):
        if node.boot_id is None or entry.boot != node.boot_id:
            continue
        match entry.event:
            case "installed":
                return _write_sample(config, (("written_var", "true"),), 1)
            case "committed":
                return _write_sample(config, (("committed", "true"),), 1)
            case "confirmed":
                return _write_sample(config, (("confirm_boot", _boot_device(config, node)), version), 1)
            case "trial_started" if state is not None:
                return _write_sample(config, (("next_boot", state.next.value), version), 2)
    return None


def _boot_stable(system: str, node: Node | None) -> Metric:
    """Say whether the booted slot is trusted, as IC-OS does: by the block alone."""
    block = None if node is None else node.environment.state
    stable = block is not None and block.cycle in {Cycle.INSTALL, Cycle.STABLE}
    return Metric(f"{system}_boot_stable", f"{system} is boot stable", {(): float(stable)})


def _boot_action(system: str, labels: Labels, value: int) -> Metric:
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


def _as_label(role: str) -> str:
    """Write a role as the name of a label may be; newer versions of the library would do so by themselves."""
    return re.sub("[^a-zA-Z0-9_]", "_", role)


def _boot_device(config: Config, node: Node) -> str:
    spec = config.slots[node.booted][config.roles.header_last]
    try:
        return devices.find(spec)
    except errors.ManagebootError:
        return spec


def _write_sample(config: Config, labels: Labels, value: int) -> None:
    _write(config, f"{config.profile}_boot_action", [_boot_action(config.profile, labels, value)])


def _write(config: Config, name: str, metrics: Sequence[Metric]) -> None:
    """Put a file in the place of the old one. The library's own way to do so follows a link that lies in its way: the
    directory may belong to the user of node_exporter.
    """
    path = os.path.join(config.metrics.directory, f"{name}.prom")
    try:
        files.replace(path, _rendered(metrics))
    except OSError as error:
        raise errors.from_os_error(error, f"write {path}", errors.CreateError) from error
    except ImportError as error:
        raise errors.CreateError(
            f"cannot write {path}: {error}", hint="install prometheus_client, python3-prometheus-client on Debian"
        ) from error


def _rendered(metrics: Sequence[Metric]) -> bytes:
    # Imported here: it costs 60 ms, and most nodes have nobody who collects.
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    for metric in metrics:
        names = [label for label, _ in next(iter(metric.values))]
        gauge = Gauge(metric.name, metric.text, names, registry=registry)
        for labels, value in metric.values.items():
            words = {label: encodable(word) for label, word in labels}
            (gauge.labels(**words) if words else gauge).set(value)
    return generate_latest(registry)
