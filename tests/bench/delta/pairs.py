"""Two states of a root file system that anybody can build: Debian as its last point release had it, and as it is now.

The packages are those of the day of the build, so the figures of two pairs of one name are alike, and not the same.
"""

import os
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.payload import MIB, random_uuid, run
from qemu_harness.filesystem import EPOCH, make_ext4
from qemu_harness.process import ALONE

_BASE = ("systemd-sysv", "dbus", "udev", "openssh-server", "python3", "python3-cryptography", "perl", "git", "curl",
         "openssl", "gnupg", "ca-certificates", "vim-tiny", "iproute2", "nftables", "e2fsprogs", "lvm2", "rsync",
         "bind9-dnsutils", "libglib2.0-bin", "chrony", "rsyslog")  # fmt: skip
_SERVICES = ("containerd", "runc", "postgresql-15")
_SERVERS = ("linux-image-amd64", *_SERVICES, "nginx-light", "samba", "qemu-system-x86", "qemu-utils", "cryptsetup",
            "grub-efi-amd64-bin", "initramfs-tools")  # fmt: skip
_DESKTOP = ("firefox-esr", "chromium", "nodejs", "openjdk-17-jre-headless", "php-cli", "ruby", "ghostscript",
            "imagemagick")  # fmt: skip

_SUITE = "bookworm"
# Settings of the host's package manager that decide whether it reaches its archive.
_HOST_SETTINGS = ("Acquire::http", "Acquire::https", "Acquire::Check-Date", "Acquire::Check-Valid-Until")
_REMOVED = ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/info", "usr/share/locale",
            "usr/share/man", "dev", "proc", "sys")  # fmt: skip
_ROOM = 1.2
"""The file system is so many times as large as what is in it."""


class Pair(NamedTuple):
    """What is in both states."""

    name: str
    packages: tuple[str, ...]
    """Of Debian 12, beside the essential ones; none stands for a few random files."""


PAIRS = {
    pair.name: pair
    for pair in (
        Pair("base", _BASE),
        Pair("services", (*_BASE, "linux-image-cloud-amd64", *_SERVICES)),
        Pair("servers", _BASE + _SERVERS),
        Pair("desktop", _BASE + _SERVERS + _DESKTOP),
        Pair("tiny", ()),
    )
}


class Images(NamedTuple):
    """Two images of the same size."""

    old: Path
    new: Path


def make_pair(directory: Path, pair: Pair) -> Images:
    """Make a pair in a directory, or find it there."""
    if not directory.exists():
        partial = directory.with_name(f"{directory.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _make(partial, pair)
        partial.rename(directory)
    return Images(directory / "old.img", directory / "new.img")


def _make(directory: Path, pair: Pair) -> None:
    trees = {"old": directory / "old", "new": directory / "new"}
    for name, tree in trees.items():
        if pair.packages:
            _unpack_packages(tree, pair.packages, updates=name == "new")
        else:
            _random_files(tree, shifted=name == "new")
        for gone in _REMOVED:
            shutil.rmtree(tree / gone, ignore_errors=True)
        for path in _paths(tree):
            os.utime(path, (int(EPOCH), int(EPOCH)), follow_symlinks=False)
    used = max(sum(os.lstat(path).st_blocks * 512 for path in _paths(tree)) for tree in trees.values())
    size = (int(used * _ROOM) // (8 * MIB) + 2) * 8 * MIB
    for name, tree in trees.items():
        make_ext4(directory / f"{name}.img", size, label="root", uuid=random_uuid("root"), content=tree)
        run("rm", "-rf", tree)


def _unpack_packages(tree: Path, packages: Sequence[str], *, updates: bool) -> None:
    """Unpack packages and what they depend on; without updates, those of the last point release."""
    found = run(
        "apt-get", "indextargets", "--format", "deb $(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )
    lines = [line for line in sorted(set(found.splitlines())) if line.split()[2].startswith(_SUITE)]
    # Updates and security are archives of their own.
    chosen = [line for line in lines if updates or line.split()[2] == _SUITE]
    if not 0 < len(chosen) < len(lines) + updates:
        raise RuntimeError(f"the package manager of this machine has no archive of {_SUITE} with and without updates")
    with tempfile.TemporaryDirectory() as scratch:
        settings, sources = Path(scratch, "apt.conf"), Path(scratch, "sources.list")
        settings.write_text(run("apt-config", "dump", *_HOST_SETTINGS))
        sources.write_text("".join(f"{line}\n" for line in chosen))
        options = ["--mode=root", "--variant=extract", "--format=directory", f"--include={','.join(packages)}"]
        options += [f"--aptopt={settings}", "--aptopt=APT::Install-Recommends false"]
        options += ['--aptopt=Acquire::Languages "none"', "--dpkgopt=force-unsafe-io"]
        run(*ALONE, "mmdebstrap", *options, _SUITE, tree, sources)


def _paths(tree: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(tree, topdown=False):
        yield from (os.path.join(parent, name) for name in [*folders, *names])


def _random_files(tree: Path, *, shifted: bool) -> None:
    dice = random.Random("pair")
    for name, size in (("usr/lib/same", 3 * MIB), ("usr/lib/program", 3 * MIB)):
        content = dice.randbytes(size)
        if shifted and name.endswith("program"):
            content = b"shifted" + content[:-7]
        file = tree / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
