"""A grub.cfg for slots of one's own: the one of docs/other-distributions.md, with other lines at its top.

It is shorter than the shipped one and does less: it knows one try, and tells no cause of a fallback.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from manageboot.protocol import Slot

_TEMPLATE_PATH = os.path.join(os.path.dirname(__file__), "slots.cfg")


class SlotScript(NamedTuple):
    """What the script has to know."""

    numbers: Mapping[Slot, int]
    """Of the partition with the kernel, in the GPT."""
    arguments: Mapping[Slot, str]
    """What the kernel is told; no quotation marks, no dollars."""
    key: str
    """By which the kernel command line names the slot."""
    kernel: str
    initrd: str
    """Paths in the partition."""

    def text(self) -> str:
        """Write the script."""
        values = {f"part_{slot}": f"gpt{self.numbers[slot]}" for slot in Slot}
        values |= {f"arguments_{slot}": f'"{self.arguments[slot]}"' for slot in Slot}
        values |= {"kernel": self.kernel, "initrd": self.initrd, "key": self.key}
        with open(_TEMPLATE_PATH, encoding="utf-8") as file:
            script = file.read()
        for name, value in values.items():
            # What an argument holds is no pattern.
            head, tail = re.split(rf"^set {name}=.*$", script, maxsplit=1, flags=re.MULTILINE)
            script = f"{head}set {name}={value}{tail}"
        return script
