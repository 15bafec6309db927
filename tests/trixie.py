"""The tests without a virtual machine as a machine with Debian 13 runs them: `make test-trixie`.

They run below a root file system of that release's packages: its Python, its libraries in its versions, its GRUB and
other tools. The kernel is the host's. What needs a node to boot is left to the virtual machines.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from qemu_harness import base, debian
from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import OWN_MOUNTS

_PACKAGES = (
    *(package for package in base.PACKAGES if package.startswith("python3")),
    *("python3-cryptography", "python3-fusepy", "python3-hypothesis", "python3-isal", "python3-jsonschema"),
    *("gnupg", "python3-asn1crypto", "python3-numpy", "python3-pycurl", "python3-pykcs11", "python3-tuf", "softhsm2"),
    *("python3-pytest", "python3-pytest-timeout", "python3-pytest-xdist"),
    *("grub-common", "grub2-common", "grub-emu", "grub-efi-amd64-bin", "grub-pc-bin"),
    *("dosfstools", "e2fsprogs", "fuse3", "gdisk", "libfuse2t64", "mtools", "qemu-utils"),
    *("bsdextrautils", "bsdutils", "bzip2", "cryptsetup-bin", "gcc", "libc6-dev", "locales", "lvm2", "mount", "procps"),
    *("git", "groff-base", "make", "mandoc", "strace", "systemd", "udev", "util-linux", "xz-utils", "zstd"),
)
_MODULES = "usr/lib/python3/dist-packages"
# Debian has the package fusepy under another name; and the agent is found from wherever it is started.
_FILES = {"fuse.py": "from fusepy import *\n", "manageboot.pth": "/repository\n"}
_PROCESSES = min((os.cpu_count() or 1) + 2, 4)
"""As in `make test`."""
# These two boot nodes, with modules that Debian does not have.
_TESTS = "cd /repository && exec python3 -m pytest -p no:cacheprovider -m 'not qemu and not long' "
_TESTS += " ".join(f"--ignore=tests/{room}" for room in ("qemu", "powercuts"))

# Devices and processes are the host's, and so is what the kernel tells of them. The root is a mount of its own, as
# tests that hide /sys expect. It is the root of all mounts too: below a chroot, a loop device that is looked at from a
# further namespace shows the host's path of its file. What they leave behind goes with these mounts.
_BELOW = """\
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount -t sysfs sysfs "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs none "$1/run"
mount --bind "$3" "$1/tmp"
mkdir -p "$1/repository" "$1/run/lock" "$1/run/systemd"
mount --bind "$2" "$1/repository"
cd "$1"
shift 3
pivot_root . mnt
umount --lazy /mnt
exec env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"""


def main() -> int:
    """Run them, with pytest's own options, and return its exit status."""
    root = Cache.default().entry("tests", content_key(*_PACKAGES, repr(_FILES), Path(debian.__file__)), _make)
    tests = f'{_TESTS} --dist=loadfile --numprocesses={_PROCESSES} "$@"'
    # On a disk, as on a usual machine: a block in memory is written in other ways.
    with tempfile.TemporaryDirectory(prefix="manageboot-tests-", dir="/var/tmp") as scratch:
        os.chmod(scratch, 0o1777)
        below = ["sh", "-ec", _BELOW, "sh", root / "root", REPOSITORY, scratch]
        command = [*OWN_MOUNTS, *below, "sh", "-c", tests, "sh", *sys.argv[1:]]
        return subprocess.run(command, check=False).returncode


def _make(directory: Path) -> None:
    make_root(directory / "root", Release.TRIXIE, _PACKAGES)
    # A node does without, so make_root leaves them out; a maintenance window may name one.
    shutil.copytree("/usr/share/zoneinfo", directory / "root/usr/share/zoneinfo", symlinks=True, dirs_exist_ok=True)
    for name, text in _FILES.items():
        (directory / "root" / _MODULES / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main())
