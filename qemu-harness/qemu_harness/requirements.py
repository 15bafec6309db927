"""What the harness needs of the host, and what of it is missing."""

import os
import shutil

from qemu_harness import biosloader, loader
from qemu_harness.firmware import CODE
from qemu_harness.grubtools import HOST_TOOLS
from qemu_harness.process import PACKAGES, environment


def unmet() -> list[str]:
    """Name everything that keeps the harness from building and running a node here; nothing, if it can."""
    path = environment()["PATH"]
    packages = {package for program, package in PACKAGES.items() if not shutil.which(program, path=path)}
    missing = [f"Debian package {package} is not installed" for package in sorted(packages)]
    if not CODE.exists():
        missing.append("Debian package ovmf is not installed")
    for target, package in ((loader.TARGET, "grub-efi-amd64-bin"), (biosloader.TARGET, "grub-pc-bin")):
        if not HOST_TOOLS.modules(target).exists():
            missing.append(f"Debian package {package} is not installed")
    if os.geteuid():
        missing.append("a node is built with chroot, and the owners of its files are kept: both need root")
    return missing
