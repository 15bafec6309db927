"""A confirm raises the floor to the release that it confirms. That it can't be raised is no failure of the verb.

The block comes first: until it says that the slot stays, the release is not confirmed. Cut in between, the next confirm
raises the floor, and until then whoever asks for the floor counts what the booted slot holds.
"""

import logging
from contextlib import suppress

from manageboot import errors
from manageboot.boot import floor
from manageboot.boot.node import Node
from manageboot.config import Config
from manageboot.protocol import Phase

logger = logging.getLogger(__name__)


def is_behind(config: Config, node: Node) -> bool:
    """Say whether the floor is lower than what the booted slot holds, which was confirmed."""
    with suppress(errors.ManagebootError):
        return node.state.phase is Phase.IDLE and floor.is_behind(config, node.booted, _transaction(node))
    return False


def raise_floor(config: Config, node: Node) -> None:
    """Raise the floor to what the booted slot holds; the caller holds the lock, and the slot is confirmed.

    Durability: once it returns without a warning, the floor survives a power cut.
    """
    try:
        floor.confirmed(config, node.booted, _transaction(node))
    except errors.ManagebootError as error:
        logger.warning("the floor is not raised: %s", error)


def _transaction(node: Node) -> str | None:
    entry = node.records.get(node.booted)
    return None if entry is None else entry.transaction
