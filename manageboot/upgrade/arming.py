"""What a commit or a rollback leaves in the block for the trial that it asks for, and what must be there before."""

import logging
import os

from manageboot.boot import envblock
from manageboot.boot.markers import Markers
from manageboot.boot.node import Node
from manageboot.config import Config
from manageboot.protocol import BlockState, Cycle

logger = logging.getLogger(__name__)


def markers(config: Config, node: Node) -> Markers:
    """Make the markers of a new commit or rollback. Only the shipped grub.cfg is known to understand them."""
    if node.grub is None:
        return Markers()
    tries = str(config.boot.tries) if config.boot.tries > 1 else ""
    return Markers(nonce=new_nonce(), ack=node.environment.markers.ack, tries=tries)


def new_nonce() -> str:
    """Make a nonce: a word that no commit had before."""
    return os.urandom(4).hex()


def rehearse(config: Config, node: Node) -> None:
    """Refuse now what a commit of the passive slot would be refused for later. Writes nothing.

    Raises:
        BlockFullError, BlockNotAtomicError, CreateError, NotPermittedError, BlockDamagedError, DeviceError: as for
            `envblock.rehearse`.
    """
    envblock.rehearse(config.boot.grubenv, BlockState(node.booted.other, Cycle.FIRST_BOOT), markers(config, node))


def trust_the_other(config: Config, node: Node) -> None:
    """Have GRUB trust the slot that counts as booted, where the one that it trusts is about to be overwritten.

    Raises:
        BlockDamagedError, CreateError, DeviceError, LockedError, NotPermittedError: the block can't be written.

    Durability: once it returns, GRUB boots the other slot until the overwritten one is committed.
    """
    if not node.overwrites_trusted:
        return
    path = config.boot.grubenv
    envblock.write(path, node.state.block, Markers(ack=node.environment.markers.ack))
    envblock.settle(envblock.read(path))  # and with it the file that names the trusted slot
    logger.warning(
        "slot %s was the trusted one: until its commit, slot %s is, whatever it holds", node.booted.other, node.booted
    )


def warn_of_tries(config: Config, node: Node) -> None:
    """Say so where the trial gets fewer boots than are configured."""
    if node.grub is None and config.boot.tries > 1:
        counts = "the grub.cfg that booted this node counts no tries" if node.by_grub else "no GRUB started this node"
        logger.warning("the trial gets one boot, not boot.tries = %d: %s", config.boot.tries, counts)
