"""What happens to the node is announced here: a line in the journal, an entry in the history.

None of them is a reason to fail what is announced: what can't be told is a warning.
"""

import logging

from manageboot import boottrace, errors, history, journal, lock
from manageboot.config import Config
from manageboot.history import Entry
from manageboot.journal import Event
from manageboot.protocol import Slot
from manageboot.record import now

__all__ = ["Event", "announce"]

logger = logging.getLogger(__name__)

_LOCK_WAIT_S = 2.0
"""Whoever holds the lock of the history writes one sector."""


def announce(
    config: Config,
    event: Event,
    message: str,
    *,
    slot: Slot,
    version: str | None = None,
    transaction: str | None = None,
    cause: str | None = None,
) -> None:
    """Tell the journal and the history of an event. Raises nothing: what can't be told is logged.

    The lock of the node need not be held.

    Args:
        config: the settings.
        event: what happened.
        message: the same in words, without a period.
        slot: the slot that it happened to.
        version: the version in that slot, if known.
        transaction: the installation that it belongs to, if known.
        cause: why it happened, as a code word, where there is one.

    Durability: once it returns without a warning, the entry in the history survives a power cut.
    """
    journal.send(event, message, slot=slot, version=version, transaction=transaction, cause=cause)
    entry = Entry(now(), event.name.lower(), slot.value, message, boottrace.boot_id(), version, transaction, cause)
    try:
        # The history itself may lie on vfat, where anybody may open it, and so lock it.
        with lock.held(f"{config.state.lock}.history", "write the history", wait_s=_LOCK_WAIT_S):
            history.append(config, entry)
    except errors.ManagebootError as error:
        logger.warning("the event is not in the history: %s", error)
