"""Lifecycle events in the systemd journal; the only module that imports systemd.

Each event has a MESSAGE_ID of its own; systemd-units/manageboot.catalog says what it means and what to do.
"""

import os
from contextlib import suppress
from enum import Enum

from manageboot.protocol import Slot
from manageboot.system.beside import beside
from manageboot.system.datagram import DatagramSocket
from manageboot.system.text import joined

# Source: systemd, sd_journal_sendv(3).
_JOURNALD = DatagramSocket("/run/systemd/journal/socket")


class Event(Enum):
    """The events, each with its MESSAGE_ID."""

    INSTALLED = "7d385718fed84f3981778702155e19e7"
    INSTALL_FAILED = "3301510f270940d59151cdc72a2d6921"
    DOWNGRADE_ALLOWED = "cfa68c4f32e64310944221bf3eb4c7e0"
    COMMITTED = "6fa48ce5a78b434fbc8350d5c677006b"
    CANCELLED = "669b33c3777a443e98140a670ad7ec9c"
    CONFIRMED = "333128b608a84c63b9d60933f503ab99"
    ROLLED_BACK = "11d7fabf22f9408891c26ed0522f2924"
    TRIAL_STARTED = "46c491fe52214a1396c696389f7f673a"
    FALLBACK = "61cda6566c8c4494a6d046bf656ae036"
    DEADLINE = "1e6c878666ec4b4fa4f2322de0a55553"
    HEALTH_FAILED = "e384759dcac14ce3a862aa0658e1da5f"
    HEALTH_WARNING = "f2374e4e499a4c7f9a5f3d9129bfec67"
    BLOCK_DAMAGED = "23d586b05b1c4aacba755346382e1b89"
    NOT_ACKNOWLEDGED = "723f2bfadb5c44599807cdcb0ef746c9"
    DEVICE_LOST = "48c32ce19981497ba434ca568b2f113d"
    REBOOT_MISSING = "3f25db7b60c2489cae87b0f1a2ac0226"
    UPDATE_AVAILABLE = "52128de055fb4cc3ba5bbfd0eff50e85"
    UPDATE_FAILED = "3aefa892402d4430bf93351fe49658c7"
    UPDATE_SET_ASIDE = "c6db5d6be9f34747b16644b42dfb06ed"


def send(
    event: Event, message: str, *, slot: Slot, version: str | None, transaction: str | None, cause: str | None
) -> None:
    """Write an event into the journal; where there is no journal, or it hangs, do nothing.

    Args:
        event: what happened.
        message: the same in words, without a period.
        slot: the slot that it happened to.
        version: the version in that slot, if known.
        transaction: the installation that it belongs to, if known.
        cause: why it happened, as a code word, where there is one.
    """
    fields = {
        "SYSLOG_IDENTIFIER": "manageboot",
        "MESSAGE_ID": event.value,
        "MANAGEBOOT_EVENT": event.name.lower(),
        "MANAGEBOOT_SLOT": slot.value,
        "MANAGEBOOT_VERSION": version or "",
        "MANAGEBOOT_TRANSACTION": transaction or "",
        "MANAGEBOOT_CAUSE": cause or "",
    }
    _send(message, fields)


def log(line: str, *, name: str) -> None:
    """Write a line into the journal; where there is no journal, or it hangs, do nothing.

    Args:
        line: what to write.
        name: of the program that says it, as `journalctl -t` knows it.
    """
    _send(line, {"SYSLOG_IDENTIFIER": name, "SYSLOG_PID": str(os.getpid())})


def _send(message: str, fields: dict[str, str]) -> None:
    try:
        from systemd import journal
    except ImportError:
        return
    # No journal is no reason to hold an upgrade up, and nothing to speak of: a rescue system has none.
    with beside("the event is not in the journal"), suppress(OSError):
        if _JOURNALD.takes_more():
            journal.send(joined(message), **{name: joined(value) for name, value in fields.items()})
