"""How the daemon looks at the node: it writes nothing, takes no lock, and never raises."""

from manageboot import errors
from manageboot.boot import cmdline, envblock
from manageboot.boot.node import observe
from manageboot.config import Config
from manageboot.daemon.observation import Observation
from manageboot.upgrade import abort, inhibit


def look_at(config: Config, *, tried: bool, over: bool, repeated: bool) -> Observation:
    """Look at the node. What can't be seen is a problem that is told.

    Args:
        config: the settings.
        tried: whether a trial was seen in this boot.
        over: whether the trial of this boot, if there was one, is known to be over.
        repeated: `repeats` of the last look, which holds where the block says nothing now.
    """
    seen, node = Observation(None, repeats=repeated, inhibited=inhibit.active(config)), None
    try:
        # The records may lie on another disk than the block, and no decision goes by them.
        node = observe(config, with_records=False)
        # Where GRUB's file system is not mounted, there is no block that would say anything.
        envblock.check_present(node.environment)
        if node.lost_its_block(tried=tried) and not over:
            path, condition = node.environment.path, node.environment.condition
            raise errors.BlockMissingError(f"cannot read {path}: it is {condition}, and GRUB started a trial by it")
        markers = node.environment.markers
        seen = seen._replace(
            state=node.state,
            aborted=markers.aborted,
            may_be_stale=node.may_be_stale and not abort.marked(config, markers.trial),
            repeats=node.state.grub_wrote_nothing,
        )
    except errors.BlockDamagedError as error:
        seen = seen._replace(problem=str(error), damaged=True)
    except errors.ManagebootError as error:
        seen = seen._replace(problem=str(error))
    except Exception as error:  # noqa: BLE001  a trial has to end, whatever is wrong with the look at it
        seen = seen._replace(problem=f"cannot look at this node: {type(error).__name__}: {error}")
    grub = cmdline.grub_parameters(config.boot) if node is None else node.grub
    return seen._replace(grub_starts_trial=grub is not None and grub.try_ != "")
