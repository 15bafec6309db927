"""A clean Debian, for the pages that are to work by copy and paste."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents.pages import ROOT
from documents.shell import Shell
from qemu_harness.debian import chosen_release, make_root

SOURCES = ("Makefile", "grubenv", "manageboot", "systemd-units")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A root shell on a clean Debian, in a checkout."""
    root = tmp_path / "clean"
    make_root(root, chosen_release(), ("ca-certificates",))
    checkout = root / "root"
    for name in SOURCES:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, checkout / name)
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    enter = "mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev && exec chroot . bash"
    command = ["unshare", "--mount", "sh", "-c", f'cd "$0" && {enter}', str(root)]
    with Shell(command) as made:
        made.run("export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\ncd /root\nshopt -s expand_aliases", 60)
        yield made
