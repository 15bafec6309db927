"""What the daemon sees of the node at one moment; it cannot fail, for that something can't be seen is seen as well."""

from typing import NamedTuple

from manageboot import errors
from manageboot.boot import cmdline, envblock
from manageboot.boot.node import observe
from manageboot.config import Config
from manageboot.protocol import BootState
from manageboot.upgrade import abort, inhibit


class Sight(NamedTuple):
    """The node at one moment."""

    state: BootState | None
    """None: the block can't be read, or says nothing."""
    problem: str
    """Why."""
    damaged: bool
    """Whether the block is there, and says nothing."""
    trial: str
    """What stands in the block of how far the trial came."""
    may_be_stale: bool
    """Whether that may be of an earlier trial."""
    grub_tries: bool
    """Whether GRUB said at boot that it starts a trial."""
    held: bool
    """Whether a person is at work."""


def look(config: Config, *, tried: bool, over: bool) -> Sight:
    """Look at the node. Writes nothing and takes no lock.

    Args:
        config: the settings.
        tried: whether a trial was seen in this boot.
        over: whether the trial of this boot, if there was one, is known to be over.
    """
    node, state, trial, may_be_stale, problem, damaged = None, None, "", False, "", False
    try:
        node = observe(config)
        # Where GRUB's file system is not mounted, there is no block that would say anything.
        envblock.check_present(node.environment)
        if node.lost_its_block(tried=tried) and not over:
            path, condition = node.environment.path, node.environment.condition
            raise errors.BlockMissingError(f"cannot read {path}: it is {condition}, and GRUB started a trial by it")
        state, trial = node.state, node.environment.markers.trial
        may_be_stale = node.may_be_stale and not abort.marked(config, trial)
    except errors.BlockDamagedError as error:
        problem, damaged = str(error), True
    except errors.ManagebootError as error:
        problem = str(error)
    except Exception as error:  # noqa: BLE001  a trial has to end, whatever is wrong with the look at it
        problem = f"cannot look at this node: {type(error).__name__}: {error}"
    grub = cmdline.grub_parameters(config.boot) if node is None else node.grub
    grub_tries = grub is not None and grub.try_ != ""
    return Sight(state, problem, damaged, trial, may_be_stale, grub_tries, inhibit.active(config))
