"""How a verb begins: it takes the lock, looks at the node, settles the block, and asks the protocol what to do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from manageboot.boot import envblock, fallback
from manageboot.boot.node import Node, observe
from manageboot.config import Config
from manageboot.events import events
from manageboot.protocol import Transition, Verb, transition
from manageboot.system import lock

logger = logging.getLogger(__name__)


@contextmanager
def begun(
    config: Config, verb: Verb, *, least_wait_s: float = 0.0, brief: bool = True
) -> Iterator[tuple[Node, Transition]]:
    """Begin a verb, and hold the lock for the time of a with block.

    A fallback is told of before the verb changes, or refuses to change, what tells of it.

    Args:
        config: the settings.
        verb: what is to be done.
        least_wait_s: how long another run is waited for, in seconds, though the configuration says less.
        brief: whether the lock is held for a moment only, so that others wait for it in any case.

    Raises:
        RefusedError: not in this state, or the record does not allow it.
        BootedSlotUnknownError, BlockDamagedError, BlockMissingError, InputError, DeviceError, LockedError, CreateError,
        NotPermittedError.

    Durability: once it yields, the block as it was read survives a power cut.
    """
    with settled(config, verb, least_wait_s=least_wait_s, brief=brief) as node:
        if node.record_problem is not None:
            logger.warning("%s", node.record_problem)
        if (fell_back := fallback.detect(node)) is not None:
            events.announce_fallback(config, node, fell_back)
        yield node, transition(node.state, verb, node.passive_content)


@contextmanager
def settled(config: Config, verb: str, *, least_wait_s: float = 0.0, brief: bool = True) -> Iterator[Node]:
    """Begin what the protocol has no say in: as `begun`, but the table is not asked, and nothing is told.

    Raises:
        BootedSlotUnknownError, BlockDamagedError, BlockMissingError, InputError, DeviceError, LockedError, CreateError,
        NotPermittedError.

    Durability: once it yields, the block as it was read survives a power cut.
    """
    wait_s = max(least_wait_s, config.state.lock_timeout_s)
    with lock.held(config.state.lock, verb, wait_s=wait_s, brief=brief):
        node = observe(config)
        envblock.settle(node.environment)
        yield node
