"""What a machine wrote to its serial console."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

# The last words of either firmware before it starts a loader; everything of one boot lies between two of them.
LOADER_STARTS = re.compile(r"BdsDxe: starting Boot\w+|Booting from Hard Disk")
# What grub.cfg prints in each boot. The banner of GRUB itself is silent in Debian 13.
GRUB_SPOKE = "manageboot: slot "
CONTROL_SEQUENCE = re.compile(r"\x1b(\[[0-9;=?]*[A-Za-z]|[()][A-B0-2]|[=>c])|[\r\x00]")
GAP = re.compile(r"[\s\ufffd]+")
LINE_LENGTH = 200


@dataclass(frozen=True)
class SerialLog:
    """The log of a machine; it grows while the machine runs."""

    path: Path

    def text(self) -> str:
        """Give everything so far, without the control sequences of terminals."""
        if not self.path.exists():
            return ""
        return CONTROL_SEQUENCE.sub("", self.path.read_text(errors="replace"))

    def boots(self) -> list[str]:
        """Give what each boot wrote, from the firmware's start of the loader on."""
        text = self.text()
        starts = [match.start() for match in LOADER_STARTS.finditer(text)]
        return [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]

    def since_last_boot(self) -> str:
        """Give what the latest boot wrote, or everything if no loader was started yet."""
        boots = self.boots()
        return boots[-1] if boots else self.text()

    def tail(self, lines: int = 25) -> str:
        """Give the last lines, short enough to be read: a menu of GRUB is one line of many thousand characters."""
        last = (GAP.sub(" ", line)[-LINE_LENGTH:] for line in self.text().splitlines()[-lines:])
        return "\n".join(line for line in last if line.strip())
