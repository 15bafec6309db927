"""Chooses the way by which a release comes: the full pack, or a delta and the booted slot, whichever costs less."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack

from manageboot import errors
from manageboot.boot import floor
from manageboot.boot.node import Node
from manageboot.channel import ahead
from manageboot.channel.chain import Link
from manageboot.channel.source import ReleaseImage
from manageboot.config import Config
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.devices import find_together
from manageboot.image import UpdateImage
from manageboot.install.booted import BootedSlot
from manageboot.install.passive import PassiveSlot
from manageboot.install.progress import Counts, Style, show_ways, step
from manageboot.install.progressfile import ProgressFile
from manageboot.release.description import Delta

logger = logging.getLogger(__name__)


def choose(
    update: UpdateImage,
    passive: PassiveSlot,
    config: Config,
    node: Node,
    progress: Style,
    file: ProgressFile,
    *,
    compare: bool,
) -> ExitStack:
    """Let nothing of a release be fetched that the slots hold, take the cheapest way, and show what each costs.

    Args:
        update: the update image, of which nothing was read yet; what is no release has one way only.
        passive: the slot that it goes to.
        config: the settings.
        node: the node.
        progress: how to show it.
        file: where other processes see how far it is.
        compare: whether the passive slot may hold some of it already.

    Returns:
        What closes the devices of the booted slot.

    Raises:
        ManagebootError: `delta.fallback` allows no other way than a delta that can't be read.
    """
    with ExitStack() as stack:
        if not isinstance(update, ReleaseImage):
            return stack.pop_all()
        if update.is_fetched:
            update.read_also(passive)
            if compare:
                with step("compare", update.data_bytes, progress, file) as meter:
                    update.resume(lambda done: meter.update(Counts(done)))
        may_fall_back = config.channel.delta_fallback == "full"
        runtime = config.state.runtime_directory
        for link in _usable(config, node, update):
            slot = _opened(config, node, link.seed, stack, may_fall_back=may_fall_back)
            if slot is not None and update.take_delta(link, slot, runtime, may_fall_back=may_fall_back):
                break
        if update.is_fetched:
            update.keep_in(runtime)
        show_ways([update.way, *update.others], progress)
        if update.bytes_ahead:
            with step("fetch", update.bytes_ahead, progress, file) as meter:
                is_there = update.fetch_ahead(lambda done: meter.update(Counts(done)), may_fall_back=may_fall_back)
            if update.is_fetched and not is_there:
                update.keep_in(runtime)
        if update.way.through is None:
            ahead.clear(runtime)
        return stack.pop_all()


def _usable(config: Config, node: Node, update: ReleaseImage) -> Sequence[Link]:
    if not config.channel.use_deltas:
        return ()
    try:
        known = floor.load(config).slots
    except errors.FloorDamagedError:
        known = {}
    return update.links(known.get(node.booted), node.records.get(node.booted))


def _opened(config: Config, node: Node, delta: Delta, stack: ExitStack, *, may_fall_back: bool) -> BootedSlot | None:
    """Open the devices of the booted slot that a delta reads; None: it lacks one.

    Raises:
        InputError, DeviceError, NotPermittedError: one can't be opened, and there is no other way.
    """
    specs = config.slots[node.booted]
    if not all(image.role in specs for image in delta.images):
        return None
    try:
        found = find_together({image.role: specs[image.role] for image in delta.images})
        devices = {
            image.role: stack.enter_context(BlockDevice(found[image.role], shared=True)) for image in delta.images
        }
    except errors.ManagebootError as error:
        if not may_fall_back:
            raise
        logger.warning("the delta from %s is not used: %s", delta.version, error)
        return None
    return BootedSlot(devices)
