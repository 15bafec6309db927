"""A node to look around in: each line that you type runs on it, as root.

Run as `python -m qemu_harness.shell`. The word `!reset` resets the node; end of input switches it off.
"""

import logging
import sys

from qemu_harness.agent import AgentSilent
from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import build_node
from qemu_harness.process import HarnessError

RESET = "!reset"


def main() -> int:
    """Start a node and pass lines on to it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    cache = Cache.default()
    try:
        images = build_node(cache, release=chosen_release())
        with VirtualMachine(cache, images.disk, media=images.media) as machine:
            print(f"serial log: {machine.serial.path}", file=sys.stderr)
            machine.wait_until_up()
            print("the node is up", file=sys.stderr)
            for line in sys.stdin:
                _obey(machine, line.strip())
    except HarnessError as error:
        print(f"shell: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _obey(machine: VirtualMachine, line: str) -> None:
    try:
        if line == RESET:
            machine.reset()
            machine.wait_until_up()
        elif line:
            done = machine.run(line)
            print(done.stdout, end="")
            print(done.stderr, end="", file=sys.stderr)
            if done.exit_code:
                print(f"exit status {done.exit_code}", file=sys.stderr)
    except AgentSilent as error:
        # A line that takes too long is no reason to leave. One that reboots the node needs no care: the next line
        # waits in the port until the node is up again.
        print(f"shell: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
