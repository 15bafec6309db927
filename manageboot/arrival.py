"""Userspace is up: what GRUB wrote at this boot is forced down, and a trial leaves a trace of how far it came."""

from manageboot import environment, lock
from manageboot.config import Config
from manageboot.node import observe
from manageboot.protocol import Phase
from manageboot.traces import Trial

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
        environment.settle(node.environment)
        traces = node.environment.traces
        if node.state.phase is not Phase.TRIAL or traces.trial:
            return f"slot {node.booted} is up"
        environment.write(config.boot.grubenv, node.state.block, traces._replace(trial=Trial.USERSPACE.value))
        return f"slot {node.booted} is up, on trial"
