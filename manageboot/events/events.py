"""What happens to the node is announced here: a line in the journal, an entry in the history, and the metrics anew.

Nothing of that is a reason to fail what is announced: what can't be told is a warning. The lock of the node need not be
held; the history has a lock of its own.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress

from grubenv import Inside
from manageboot import errors
from manageboot.boot import cmdline
from manageboot.boot.fallback import Fallback
from manageboot.boot.node import Node, observe
from manageboot.boot.record import SlotRecord, now
from manageboot.config import Config
from manageboot.events import history, journal, metrics
from manageboot.events.history import Entry
from manageboot.events.journal import Event
from manageboot.protocol import Content, Slot
from manageboot.system import console, lock
from manageboot.system.beside import beside

__all__ = [
    "Event",
    "announce",
    "announce_fallback",
    "happened",
    "image_written",
    "refresh",
    "show_devices",
    "show_update",
]

_MAY_REPEAT = {
    Event.DEVICE_LOST,
    Event.HEALTH_WARNING,
    Event.BLOCK_DAMAGED,
    Event.REBOOT_MISSING,
    Event.DEADLINE,
    Event.HEALTH_FAILED,
    Event.TRIAL_STARTED,
    Event.NOT_ACKNOWLEDGED,
    Event.UPDATE_AVAILABLE,
    Event.UPDATE_FAILED,
}
"""A device that comes and goes all day, or a reboot that never comes, must not push what led to it out of history.
And a daemon that could not write down what it told tells it once more."""

_UNMEASURED = "the metrics may be behind"
_UNTOLD = "journal, history or metrics lack the event"
_LOCK_WAIT_S = 2.0
"""Whoever holds the lock of the history writes a sector and some small files."""


def announce(
    config: Config,
    event: Event,
    message: str,
    *,
    slot: Slot,
    version: str | None = None,
    transaction: str | None = None,
    cause: str | None = None,
    seconds: float | None = None,
    written_bytes: int | None = None,
) -> None:
    """Tell journal, history and metrics of an event. Raises nothing: what can't be told is a warning.

    What may repeat, such as a device that is lost, is in the history once a boot, and in the journal each time.

    Args:
        config: the settings.
        event: what happened.
        message: the same in words, without a period.
        slot: the slot that it happened to.
        version: the version in that slot, if known.
        transaction: the installation that it belongs to, if known.
        cause: why it happened, as a code word, where there is one.
        seconds: of an installation, how long it took; of a confirm, the time since boot. By no clock that can be set.
        written_bytes: of an installation, what went to the devices.

    Durability: once it returns without a warning, the entry in the history survives a power cut.
    """
    with beside(_UNTOLD):
        entry = _entry(config, event, message, slot)._replace(
            version=version,
            transaction=transaction or _transaction(config, slot, version),
            cause=cause,
            seconds=seconds,
            written_bytes=written_bytes,
        )
        if console.debug:
            console.debug("event: %s, slot %s: %s", event.name.lower(), slot, message)
        _tell_journal(event, entry)

        def record() -> None:
            if event not in _MAY_REPEAT or not _is_known(entry, _recall(config)):
                _record(config, entry)

        _with_lock(config, record)


def announce_fallback(config: Config, node: Node, fell_back: Fallback) -> None:
    """Announce a fallback, unless the history says that it was. Raises nothing.

    Args:
        config: the settings.
        node: the node on which `fallback.detect` found it.
        fell_back: what it found.
    """
    with beside(_UNTOLD):
        known = node.records.get(fell_back.slot, SlotRecord(Content.VOID))
        entry = _entry(
            config, Event.FALLBACK, f"Slot {fell_back.slot} did not stay: {fell_back.text}", fell_back.slot
        )._replace(
            version=known.version, transaction=known.transaction, cause=fell_back.cause.value, commit=fell_back.commit
        )

        def once() -> None:
            if not is_announced(entry, _recall(config)):
                _tell_journal(Event.FALLBACK, entry)
                _record(config, entry)

        # Under one lock, because a verb and the daemon may find it at the same time.
        _with_lock(config, once)


def is_announced(fell_back: Entry, happened: list[Entry]) -> bool:
    """Say whether the history has this fallback already: of the same commit, and since the last one of that slot."""
    armed = {Event.COMMITTED.name.lower(), Event.ROLLED_BACK.name.lower()}
    for entry in reversed(happened):
        if entry.slot != fell_back.slot:
            continue
        if entry.event == fell_back.event:
            return entry.commit == fell_back.commit
        if entry.event in armed:
            return False
    return False


def happened(config: Config, event: Event) -> bool:
    """Say whether the history has an event of this boot."""
    name, boot = event.name.lower(), cmdline.boot_id()
    return boot is not None and any(e.event == name and e.boot == boot for e in _recall(config))


def refresh(config: Config) -> None:
    """Write the metrics anew, though nothing happened. Raises nothing."""
    with beside(_UNMEASURED):
        if metrics.wanted(config):
            _with_lock(config, lambda: metrics.write(config, _look(config), _recall(config)))


def show_devices(config: Config, failed: Mapping[str, str]) -> None:
    """Write the metrics of the slots' devices. Raises nothing.

    Args:
        config: the settings.
        failed: what is wrong with a device, by its key in the configuration, such as "slots.A.root".
    """
    with beside(_UNMEASURED):
        if metrics.wanted(config):
            _with_lock(config, lambda: metrics.write_devices(config, failed))


def show_update(config: Config, update: metrics.Update) -> None:
    """Write the metrics of an unattended update. Raises nothing."""
    with beside(_UNMEASURED):
        if metrics.wanted(config):
            _with_lock(config, lambda: metrics.write_update(config, update))


def image_written(config: Config, role: str, path: str) -> None:
    """Write the metric that IC-OS has for an image that went to its device. Raises nothing."""
    with beside(_UNMEASURED):
        if metrics.wanted(config):
            _with_lock(config, lambda: metrics.write_image(config, role, path))


def _is_known(entry: Entry, happened: list[Entry]) -> bool:
    """Say whether the history has the same of this boot."""
    cut = history.as_stored(entry)
    return any((cut.boot, cut.event, cut.slot, cut.message) == (e.boot, e.event, e.slot, e.message) for e in happened)


def _entry(config: Config, event: Event, message: str, slot: Slot) -> Entry:
    if isinstance(config.boot.grubenv, Inside):
        # This system's journal is about another one here.
        message = f"{message}, on {config.boot.grubenv.device}"
    return Entry(now(), event.name.lower(), slot.value, message, cmdline.boot_id())


def _transaction(config: Config, slot: Slot, version: str | None) -> str | None:
    """Find the installation that a slot holds, where it has no record of its own; the version has to be the same."""
    for entry in reversed(_recall(config) if version is not None else []):
        if entry.slot == slot and entry.event in {"installed", "install_failed"}:
            return entry.transaction if entry.version == version else None
    return None


def _tell_journal(event: Event, entry: Entry) -> None:
    journal.send(
        event,
        entry.message,
        slot=Slot(entry.slot),
        version=entry.version,
        transaction=entry.transaction,
        cause=entry.cause,
    )


def _with_lock(config: Config, work: Callable[[], None]) -> None:
    """Do something under the lock of the history; what goes wrong is a warning."""
    # The history itself may lie on vfat, where anybody may open it, and so lock it.
    with (
        beside("history and metrics may be behind"),
        lock.held(f"{config.state.lock}.history", "write the history", wait_s=_LOCK_WAIT_S),
    ):
        work()


def _record(config: Config, entry: Entry) -> None:
    """Write an entry, and the metrics with it, even if the entry could not be written."""
    happened: list[Entry] = []
    with beside("the event is not in the history"):
        happened = history.append(config, entry)
    with beside(_UNMEASURED):
        if metrics.wanted(config):
            metrics.write(config, _look(config), happened or [*_recall(config), entry])


def _recall(config: Config) -> list[Entry]:
    # Whoever writes next says what is wrong with it.
    with suppress(Exception):
        return history.read(config).entries
    return []


def _look(config: Config) -> Node | None:
    with suppress(errors.ManagebootError):
        return observe(config)
    return None
