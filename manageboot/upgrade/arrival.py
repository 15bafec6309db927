"""Userspace is up: what GRUB wrote at this boot is forced down, and a trial leaves a trace of how far it came."""

from manageboot.boot import envblock
from manageboot.boot.markers import Trial
from manageboot.boot.node import Node, observe
from manageboot.config import Config
from manageboot.protocol import Phase
from manageboot.system import lock
from manageboot.upgrade import abort

_WAIT_S = 10.0


def arrived(config: Config) -> str:
    """Say that userspace is up: force down what GRUB wrote, and leave a trace in a trial.

    Returns:
        What was done, in words.

    Raises:
        BlockDamagedError, BlockMissingError, DeviceError, LockedError, NotPermittedError.

    Durability: once it returns, what GRUB wrote at this boot survives a power cut, and so does the trace.
    """
    with lock.held(config.state.lock, "arrived", wait_s=max(_WAIT_S, config.state.lock_timeout_s), brief=True):
        node = observe(config)
        envblock.settle(node.environment)
        traces = node.environment.markers
        if node.state.phase is not Phase.TRIAL or (traces.trial and not _is_stale(config, node)):
            return f"slot {node.booted} is up"
        envblock.write(config.boot.grubenv, node.state.block, traces._replace(trial=Trial.USERSPACE.value))
        return f"slot {node.booted} is up, on trial"


def _is_stale(config: Config, node: Node) -> bool:
    """Say whether the block tells of an earlier trial, which was given up, as if it were this one."""
    return node.may_be_stale and not abort.in_this_boot(config, node.environment.markers.trial)
