"""The base of every node: a root file system of Debian packages, its kernel and its initrd."""

import shutil
from pathlib import Path

from qemu_harness import debian
from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import HarnessError

CLOUD_KERNEL = "linux-image-cloud-amd64"
PACKAGES = (
    # the system
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "util-linux", "e2fsprogs", "initramfs-tools"),
    # the volumes of a host, and of a guest's store
    "lvm2",
    # what manageboot runs on
    *("python3", "grub-common"),
    *("python3-construct", "python3-pyudev", "python3-sh", "python3-systemd", "python3-tqdm"),
    *("python3-zstandard", "python3-prometheus-client"),
)
OVERLAY = REPOSITORY / "qemu-harness" / "node" / "base"
# mmdebstrap has unpacked the first packages with their documentation and languages. All of perl beyond its base is
# there for programs that make a GRUB configuration, which a node never does; the hardware database describes devices
# that the machine does not have; and nobody installs packages on a node, once manageboot's are there.
REMOVED = (
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "usr/share/zoneinfo"),
    "usr/share/perl",
    "usr/share/grub",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/x86_64-linux-gnu/libperl.so.*",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/udev/hwdb.*",
    "var/cache",
    "var/log",
    "boot",
    "etc/apt",
)
# The rest of a kernel's modules drives hardware that the machine does not have.
KERNEL_MODULES_KEPT = (
    *("arch/x86/crypto", "block", "crypto", "lib"),
    *("drivers/block", "drivers/char", "drivers/dax", "drivers/md", "drivers/virtio", "drivers/watchdog"),
    *("fs/autofs", "fs/efivarfs", "fs/ext4", "fs/fat", "fs/fuse", "fs/jbd2", "fs/mbcache", "fs/nls"),
    *("fs/overlayfs", "fs/squashfs"),
    # systemd of Debian 13 loads them by itself.
    *("net/ipv4/netfilter/ip_tables", "net/netfilter/x_tables"),
)


def build_base(cache: Cache, kernel: str = CLOUD_KERNEL, release: Release = Release.BOOKWORM) -> Path:
    """Give a directory with `root`, a root file system without a kernel image, and `vmlinuz` and `initrd.img`.

    Args:
        kernel: the Debian package of the kernel.
        release: of Debian.
    """
    # The packages are those of the day of the build: an update in the archive alone builds nothing anew.
    key = content_key(release.value, kernel, OVERLAY, Path(__file__), Path(debian.__file__))
    return cache.entry("base", key, lambda directory: _build(directory, kernel, release))


def _build(directory: Path, kernel: str, release: Release) -> None:
    root = directory / "root"
    # The settings of the initrd have to lie there before the kernel's package makes it.
    make_root(root, release, (*PACKAGES, kernel), overlay=OVERLAY)
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        [found] = (root / "boot").glob(pattern)
        found.rename(directory / name)
    _slim(root)


def _slim(root: Path) -> None:
    """Remove what a node never uses: an installation of its image writes and verifies every byte."""
    # Not every release has all of them.
    for path in [found for pattern in REMOVED for found in root.glob(pattern)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    # Mount points, and a place for the log of the first seconds of a boot.
    for name in ("boot", "var/log"):
        (root / name).mkdir()
    modules = list((root / "usr/lib/modules").glob("*/kernel"))
    if len(modules) != 1:
        raise HarnessError(f"expected the modules of one kernel in {root}, found {len(modules)}")
    _keep(modules[0], KERNEL_MODULES_KEPT)


def _keep(directory: Path, kept: tuple[str, ...]) -> None:
    """Remove all of a directory except the named modules, compressed or not, and directories with what lies below."""
    for path in sorted(directory.rglob("*"), reverse=True):
        name = str(path.relative_to(directory))
        if any(name.startswith((f"{keep}/", f"{keep}.ko")) for keep in kept):
            continue
        if path.is_file():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
