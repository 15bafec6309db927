"""Metrics, as text files that node_exporter collects; the only module that imports prometheus_client.

Those of IC-OS have the names, labels and files that its dashboards know; ours are in `manageboot.prom`. Whoever writes
holds the lock of the history.
"""

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from manageboot import errors
from manageboot.boot.node import Node, running_version
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.events import measures
from manageboot.events.history import Entry
from manageboot.events.measures import Labels, Metric
from manageboot.system import console
from manageboot.system.text import encodable

_IC_OS = ("guestos", "hostos")
"""The profiles that have the metrics of IC-OS, whose names begin like that."""


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
        _write(config, f"{config.profile}_boot_stable", [measures.boot_stable(config.profile, node)])
        if node is not None:
            _write_action(config, node, happened)
    _write(config, "manageboot", [*measures.of_node(node), *measures.of_history(happened)])


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
    _write(config, "manageboot_devices", [measures.of_devices(present, lost)])


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


def _as_label(role: str) -> str:
    """Write a role as the name of a label may be; newer versions of the library would do so by themselves."""
    return re.sub("[^a-zA-Z0-9_]", "_", role)


def _boot_device(config: Config, node: Node) -> str:
    spec = config.slots[node.booted][config.roles.withheld]
    try:
        return devices.find(spec)
    except errors.ManagebootError:
        return spec


def _write_sample(config: Config, labels: Labels, value: int) -> None:
    _write(config, f"{config.profile}_boot_action", [measures.boot_action(config.profile, labels, value)])


def _write(config: Config, name: str, metrics: Sequence[Metric]) -> None:
    """Put a file in the place of the old one, for all to read whatever the umask is.

    The library's own way to write one goes by the umask, and follows a link that lies where its temporary file should:
    the directory may belong to the user of node_exporter.
    """
    path = os.path.join(config.metrics.directory, f"{name}.prom")
    temporary = f"{path}.new"
    try:
        content = _rendered(metrics)
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, 0o644)
        os.rename(temporary, path)
        if console.debug:
            console.debug("write %s at 0, %d bytes, and rename it to %s", temporary, len(content), path)
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
