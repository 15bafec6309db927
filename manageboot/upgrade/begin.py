"""How a verb begins: it takes the lock, looks at the node, settles the block, and asks the protocol what to do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from manageboot import errors
from manageboot.boot import envblock, fallback, ownership
from manageboot.boot.node import Node, observe
from manageboot.boot.ownership import Ownership
from manageboot.config import Config
from manageboot.events import events
from manageboot.protocol import Transition, Verb, describe, transition
from manageboot.system import console, lock

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
        yield node, asked(node, verb)


@contextmanager
def settled(config: Config, verb: str, *, least_wait_s: float = 0.0, brief: bool = True) -> Iterator[Node]:
    """Begin what the protocol has no say in: as `begun`, but the table is not asked, and nothing is told.

    Raises:
        BootedSlotUnknownError, BlockDamagedError, BlockMissingError, InputError, DeviceError, LockedError, CreateError,
        NotPermittedError.

    Durability: once it yields, the block as it was read survives a power cut.
    """
    if ownership.of(config.boot) is Ownership.BORROWED:
        raise errors.ConflictError(
            f"cannot {verb}: another machine owns the disk that this one runs from",
            hint=f"{config.boot.owner_file} is not there",
        )
    wait_s = max(least_wait_s, config.state.lock_timeout_s)
    with lock.held(config.state.lock, verb, wait_s=wait_s, brief=brief):
        node = observe(config)
        envblock.settle(node.environment)
        yield node


def asked(node: Node, verb: Verb) -> Transition:
    """Ask the protocol what a verb may do on a node; `--debug` shows the question and the answer.

    Raises:
        RefusedError: not in this state, or the record does not allow it.
        BlockDamagedError, BlockMissingError: the block says nothing.
    """
    if console.debug:
        known = f"{describe(node.state)}, and the record says that slot {node.booted.other} is {node.passive_content}"
        console.debug("may %s? %s: %s", verb, node.state.phase, known)
    try:
        to_do = transition(node.state, verb, node.passive_content)
    except errors.RefusedError as error:
        if console.debug:
            console.debug("no: %s", error.code)
        raise
    if console.debug:
        console.debug("yes: %s", _words(to_do))
    return to_do


def _words(to_do: Transition) -> str:
    block, reboots, warns = to_do
    said = "the block stays" if block is None else f"the block becomes {block.alternative}, {block.cycle}"
    return f"{said}{', the node reboots' if reboots else ''}{', with a warning' if warns else ''}"
