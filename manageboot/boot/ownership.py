"""Whose disk it is: a second virtual machine may run from the disk of a node, and there nothing may be done to it.

A guestOS of IC-OS has one while it is upgraded: for the exchange of keys the host boots the slot that was installed in
a machine of its own, which has all partitions of the node, that of GRUB included. IC-OS leaves a file in /run that
tells which machine it is; it comes late, when this program may run already.
"""

import os
from enum import StrEnum

from manageboot.config import BootConfig


class Ownership(StrEnum):
    """What is known of it."""

    OWN = "own"
    BORROWED = "borrowed"
    UNKNOWN = "unknown"
    """There is no word of it yet, or there never will be: older versions of IC-OS have none."""


def of(boot: BootConfig) -> Ownership:
    """Say whether this machine owns its disk.

    It does where no such file is configured; and the disk of a stopped system counts as its own.
    """
    if boot.owner_file is None or boot.cmdline is None or os.path.exists(boot.owner_file):
        return Ownership.OWN
    try:
        others = os.listdir(os.path.dirname(boot.owner_file))
    except OSError:
        return Ownership.UNKNOWN
    # The directory is made first, and then the file of the one or the other machine.
    return Ownership.BORROWED if others else Ownership.UNKNOWN
