"""Debian 13's grub-common.service, which rewrites the environment block at each boot, and empties it first."""

from glob import glob
from os import path

UNIT = "grub-common.service"
BLOCK = "/boot/grub/grubenv"
"""The one that it rewrites."""
UNITS = "/etc/systemd/system"
"""Where systemd has units as the administrator wants them."""


def rewrites(block: str) -> bool:
    """Tell whether it is enabled, and rewrites the block that has this path.

    Source: grub-common.service of Debian's package grub-common, 2.12.
    """
    if path.realpath(block) != path.realpath(BLOCK):
        return False
    is_masked = path.realpath(path.join(UNITS, UNIT)) == "/dev/null"
    return not is_masked and bool(glob(path.join(UNITS, "*.wants", UNIT)))
