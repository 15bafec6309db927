"""Whose GRUB judges: that of the release that DISTRIBUTION names, the host's own without it.

Its grub-editenv, grub-emu, grub-fstest, grub-script-check and e2fsck come first in PATH, so that whoever starts one,
the agent too, starts that.
"""

import os
import shutil
import subprocess
from pathlib import Path

from qemu_harness.cache import Cache
from qemu_harness.debian import Release, chosen_release
from qemu_harness.grubtools import GrubTools

RELEASES = [release.value for release in Release]
# Of a process that chose before, what it starts has the choice in its PATH.
_OTHERS = ":".join(place for place in os.environ["PATH"].split(":") if os.path.basename(place) != "judges")


def choose() -> None:
    """Let the release judge that DISTRIBUTION names, in this process and in those that it starts."""
    if os.environ.get("DISTRIBUTION"):
        os.environ["PATH"] = path_of(chosen_release().value)


def path_of(release: str) -> str:
    """Return a PATH with the GRUB of a release, by the name of its suite; it is unpacked at the first time."""
    return GrubTools.of(Cache.default(), Release(release)).path(_OTHERS)


def can_be_had(release: str) -> bool:
    """Tell whether the host has GRUB of a release, or what it takes to unpack it."""
    return Release(release).is_of_the_host or shutil.which("mmdebstrap") is not None


def modules_of(release: str, target: str) -> Path:
    """Return the directory of that GRUB's modules for a platform, as x86_64-efi."""
    return GrubTools.of(Cache.default(), Release(release)).modules(target)


def version() -> str:
    """Return what the GRUB that judges says of its version, as "GRUB 2.06-13+deb12u1"."""
    said = subprocess.run(["grub-emu", "--version"], check=True, capture_output=True, text=True, timeout=60).stdout
    return said.strip().partition("(GRUB) ")[2]
