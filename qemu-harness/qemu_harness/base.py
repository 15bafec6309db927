"""The base of every node: a root file system of Debian packages, its kernel and its initrd."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.filesystem import EPOCH
from qemu_harness.process import ALONE, HarnessError, run

SUITE = "bookworm"
CLOUD_KERNEL = "linux-image-cloud-amd64"
PACKAGES = (
    # the system
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "util-linux", "e2fsprogs", "initramfs-tools"),
    # the volumes of a host, and of a guest's store
    "lvm2",
    # what manageboot runs on; pip only installs it
    *("python3", "python3-pip", "grub-common"),
    *("python3-construct", "python3-pyudev", "python3-sh", "python3-systemd", "python3-tqdm"),
    *("python3-zstandard", "python3-prometheus-client"),
)
OVERLAY = REPOSITORY / "qemu-harness" / "node" / "base"
# Settings of the host's package manager that decide whether it reaches its archive. They do not stay in the image.
HOST_SETTINGS = (
    "Acquire::http",
    "Acquire::https",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::Retries",
)
UNPACKED_NEVER = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/zoneinfo/*",
)
# All of perl beyond its base is there for programs that make a GRUB configuration, which a node never does; the
# hardware database describes devices that the machine does not have.
REMOVED = (
    "usr/share/perl",
    "usr/lib/x86_64-linux-gnu/perl",
    "usr/lib/udev/hwdb.d",
    "var/cache",
    "var/log",
    "boot",
    "etc/apt",
)
# The rest of a kernel's modules drives hardware that the machine does not have.
KERNEL_MODULES_KEPT = (
    *("arch/x86/crypto", "block", "crypto", "lib"),
    *("drivers/block", "drivers/char", "drivers/dax", "drivers/md", "drivers/virtio", "drivers/watchdog"),
    *("fs/autofs", "fs/efivarfs", "fs/ext4", "fs/fat", "fs/fuse", "fs/jbd2", "fs/mbcache.ko", "fs/nls"),
    *("fs/overlayfs", "fs/squashfs"),
)


def build_base(cache: Cache, kernel: str = CLOUD_KERNEL) -> Path:
    """Give a directory with `root`, a root file system without a kernel image, and `vmlinuz` and `initrd.img`.

    Args:
        kernel: the Debian package of the kernel.
    """
    # The packages are those of the day of the build: an update in the archive alone builds nothing anew.
    key = content_key(SUITE, kernel, OVERLAY, Path(__file__))
    return cache.entry("base", key, lambda directory: _build(directory, kernel))


def _build(directory: Path, kernel: str) -> None:
    settings = directory / "apt.conf"
    settings.write_bytes(run(["apt-config", "dump", *HOST_SETTINGS]))
    sources = directory / "sources.list"
    sources.write_text("".join(f"{line}\n" for line in host_sources(SUITE)))
    root = directory / "root"
    # It mounts /proc, /sys and /dev/pts below the root, and whoever removes what a killed one left goes into them.
    argv: list[str | Path] = [*ALONE, "mmdebstrap", "--mode=root", "--variant=minbase", "--format=directory"]
    argv += [f"--include={','.join((*PACKAGES, kernel))}", f"--aptopt={settings}"]
    argv += ["--aptopt=APT::Install-Recommends false", '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in UNPACKED_NEVER]
    # The settings of the initrd have to lie there before the kernel's package makes it.
    argv += [f'--essential-hook=cp -rT "{OVERLAY}" "$1"']
    argv += [SUITE, root]
    if sources.stat().st_size:
        argv.append(sources)
    run(argv, env={"SOURCE_DATE_EPOCH": EPOCH})
    for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        [found] = (root / "boot").glob(pattern)
        found.rename(directory / name)
    _slim(root)
    settings.unlink()
    sources.unlink()


def host_sources(suite: str) -> Iterator[str]:
    """Yield the lines of a sources.list with the host's own archives of a suite, updates and security included."""
    fields = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    targets = run(["apt-get", "indextargets", "--format", fields, "Created-By: Packages"]).decode()
    for line in sorted(set(targets.splitlines())):
        _, release, _ = line.split()
        if release in (suite, f"{suite}-updates", f"{suite}-security"):
            yield f"deb {line}"


def _slim(root: Path) -> None:
    """Remove what a node never uses: an installation of its image writes and verifies every byte."""
    for name in REMOVED:
        shutil.rmtree(root / name)
    # Mount points, and a place for the log of the first seconds of a boot.
    for name in ("boot", "var/log"):
        (root / name).mkdir()
    modules = list((root / "usr/lib/modules").glob("*/kernel"))
    if len(modules) != 1:
        raise HarnessError(f"expected the modules of one kernel in {root}, found {len(modules)}")
    _keep(modules[0], KERNEL_MODULES_KEPT)


def _keep(directory: Path, kept: tuple[str, ...]) -> None:
    """Remove all of a directory except the named paths and what lies below them."""
    for path in sorted(directory.rglob("*"), reverse=True):
        name = str(path.relative_to(directory))
        if any(name == keep or name.startswith(f"{keep}/") for keep in kept):
            continue
        if path.is_file():
            path.unlink()
        elif not any(path.iterdir()):
            path.rmdir()
