"""A clean Debian, for the pages that are to work by copy and paste."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents.shell import Shell
from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release, make_root
from qemu_harness.packages import build_release, source_archive

# Not by chroot: mkosi expects that the root is a mount.
_ENTER = """
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
pivot_root . mnt
umount --lazy /mnt
exec bash
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A root shell on a clean Debian, in a directory with the packages."""
    root, release = tmp_path / "clean", chosen_release()
    make_root(root, release, ("ca-certificates",))
    build_release(Cache.default(), release, source_archive(tmp_path / "dist"), root / "root")
    shutil.copyfile("/etc/resolv.conf", root / "etc" / "resolv.conf")
    command = ["unshare", "--mount", "sh", "-ec", _ENTER, str(root)]
    with Shell(command) as made:
        made.run("export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8\ncd /root\nshopt -s expand_aliases", 60)
        yield made
