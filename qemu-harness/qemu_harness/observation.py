"""What can be seen of a node from inside, by several witnesses."""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from qemu_harness.machine import VirtualMachine
from qemu_harness.offline import parse_environment
from qemu_harness.process import HarnessError

# One round trip for all of them: starting a program takes a while when the processor is emulated.
WITNESSES = """
set -e
cat /proc/cmdline
cat /opt/ic/share/version.txt
grub-editenv /boot/grub/grubenv list | base64 -w0; echo
findmnt --noheadings --output PARTLABEL,SOURCE / | sed -E 's,/dev/(mapper/hostlvm-|hostlvm/),,' | awk '{print $1}'
manageboot status --json | base64 -w0; echo
"""
SLOT = re.compile(r'\bdfinity\.system="?([AB])\b')


@dataclass(frozen=True)
class Observation:
    """A node at one moment."""

    slot: str
    version: str
    root: str
    variables: dict[str, str]
    status: dict[str, Any]

    def record(self, slot: str) -> str:
        """Give what manageboot has written down of a slot, in a word or two."""
        record = self.status["slots"][slot]["record"]
        if record is None:
            return "-"
        return " ".join(str(record[key]) for key in ("state", "version") if record.get(key))


def observe(machine: VirtualMachine) -> Observation:
    """Ask all witnesses on a running node."""
    output = machine.check(WITNESSES).stdout
    try:
        cmdline, version, block, root, status = output.splitlines()
        slots = set(SLOT.findall(cmdline))
        [slot] = slots
        return Observation(
            slot=slot,
            version=version,
            root=root,
            variables=parse_environment(base64.b64decode(block).decode()),
            status=json.loads(base64.b64decode(status)),
        )
    except ValueError as error:
        raise HarnessError(f"cannot understand what the node says of itself: {output}") from error
