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
    directory, name = os.path.split(boot.owner_file)
    try:
        found = os.listdir(directory)
    except OSError:
        return Ownership.UNKNOWN
    if name in found:
        return Ownership.OWN  # it was made in this instant
    # The directory is made first, and then the file of the one or the other machine; a hidden one becomes that file.
    return Ownership.BORROWED if any(not one.startswith(".") for one in found) else Ownership.UNKNOWN
