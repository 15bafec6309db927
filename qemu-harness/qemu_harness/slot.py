"""The two images of one slot, boot and root, for one version of the node."""

import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from qemu_harness import layout
from qemu_harness.base import CLOUD_KERNEL, build_base
from qemu_harness.cache import REPOSITORY, Cache, content_key
from qemu_harness.debian import Release
from qemu_harness.filesystem import EPOCH, make_ext4
from qemu_harness.layout import GROUP, GUESTOS, Layout
from qemu_harness.packages import build_packages
from qemu_harness.process import run

OVERLAY = REPOSITORY / "qemu-harness" / "node" / "root"
# What a system has beyond that: its name, and on a host the unit that stands for its guest.
SYSTEM_OVERLAYS = REPOSITORY / "qemu-harness" / "node"
VERSION_FILE = "opt/ic/share/version.txt"
# Nothing else is installed on a node.
REMOVED_AFTER_INSTALLATION = ("var/lib/dpkg", "var/log/dpkg.log", "run/grubenv", "run/manageboot")
ENABLED = ("harness-agent.service", "manageboot.service")
# They do nothing for a test and cost seconds when the processor is emulated. logind asks for a session bus and a
# virtual terminal that the machine does not have.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "blk-availability.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dm-event.socket",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    # Debian 13's: it rewrites the block at each boot, and empties it first. No promise holds where that runs.
    "grub-common.service",
    "logrotate.timer",
    "lvm2-lvmpolld.socket",
    "lvm2-monitor.service",
    "modprobe@efi_pstore.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-initctl.socket",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-hwdb-update.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-random-seed.service",
    "systemd-repart.service",
    "systemd-sysctl.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
)
# All others are masked: each is a program that systemd starts in every boot, and they find nothing to do.
GENERATORS = ("slot-mounts", "systemd-fstab-generator")
MACHINE_ID = "6d616e616765626f6f742d6861726e65"
# `panic` brings a node that cannot start back to GRUB, and fsck has nothing to do on a root that nobody writes. The
# others leave out what only costs time on an emulated processor: protection, audit, and tests of the kernel's ciphers.
KERNEL_ARGUMENTS = (
    "ro console=ttyS0 panic=5 quiet fsck.mode=skip mitigations=off nokaslr init_on_alloc=0 audit=0 cryptomgr.notests"
)


@dataclass(frozen=True)
class SlotImages:
    """The images of a slot and the version that they hold."""

    boot: Path
    root: Path
    version: str


def build_system(cache: Cache, kernel: str = CLOUD_KERNEL, release: Release = Release.BOOKWORM) -> Path:
    """Give a directory with `root`, `vmlinuz` and `initrd.img`: the base, the overlay, and manageboot as it is now.

    Args:
        kernel: the Debian package of the kernel.
        release: of Debian.
    """
    base, packages = build_base(cache, kernel, release), build_packages(cache, release)
    key = content_key(base.name, OVERLAY, *(path.parent.name for path in packages), Path(__file__))
    return cache.entry("system", key, lambda directory: _install(directory, base, packages))


def build_slot_images(cache: Cache, system: Path, version: str, plan: Layout = GUESTOS) -> SlotImages:
    """Give the images of a system under a version; versions of one system differ in nothing else."""
    overlay = SYSTEM_OVERLAYS / plan.system
    key = content_key(version, system.name, overlay, Path(__file__), Path(layout.__file__))
    directory = cache.entry("slot", key, lambda directory: _build_images(directory, system, version, plan))
    return SlotImages(directory / "boot.img", directory / "root.img", version)


def _install(directory: Path, base: Path, packages: list[Path]) -> None:
    run(["cp", "-a", "--reflink=auto", "--no-target-directory", base, directory])
    root = directory / "root"
    run(["cp", "-r", "--no-target-directory", OVERLAY, root])
    (root / "etc/machine-id").write_text(f"{MACHINE_ID}\n")
    for package in packages:
        shutil.copy(package, root)
    # This fails unless Debian's own libraries are what the packages depend on. The bytecode is good whatever its time.
    dpkg: list[str | Path] = ["chroot", root, "dpkg", "--force-unsafe-io", "--install"]
    run([*dpkg, *(f"/{package.name}" for package in packages)], env={"SOURCE_DATE_EPOCH": EPOCH})
    for package in packages:
        (root / package.name).unlink()
    run(["rm", "-rf", *(root / name for name in REMOVED_AFTER_INSTALLATION)])
    run(["chroot", root, "systemctl", "enable", *ENABLED])
    run(["chroot", root, "systemctl", "mask", *MASKED])
    masks = root / "etc/systemd/system-generators"
    masks.mkdir(exist_ok=True)
    for generator in (root / "usr/lib/systemd/system-generators").iterdir():
        if generator.name not in GENERATORS:
            (masks / generator.name).symlink_to("/dev/null")


def _build_images(directory: Path, system: Path, version: str, plan: Layout) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        boot = Path(scratch, "boot")
        boot.mkdir()
        # The mount point of the GRUB partition.
        (boot / "grub").mkdir()
        for name in ("vmlinuz", "initrd.img"):
            shutil.copy(system / name, boot)
        (boot / "boot_args").write_text(boot_args(plan))
        _make_image(directory / "boot.img", layout.BOOT_SIZE, version, boot)

        root = Path(scratch, "root")
        run(["cp", "-a", "--reflink=auto", system / "root", root])
        run(["cp", "-r", "--no-target-directory", SYSTEM_OVERLAYS / plan.system, root])
        (root / VERSION_FILE).write_text(f"{version}\n")
        _make_image(directory / "root.img", layout.ROOT_SIZE, version, root)


def _make_image(image: Path, size: int, version: str, content: Path) -> None:
    """Make an image whose file system identifier differs between versions, as it does on a real node."""
    identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"manageboot:{version}/{image.name}")
    make_ext4(image, size, label=image.stem, uuid=str(identifier), content=content)


def boot_args(plan: Layout) -> str:
    """Give the file that GRUB sources to learn the kernel's arguments in either slot."""
    lines = []
    for slot in ("A", "B"):
        name = f"{slot}_root"
        root = f"/dev/{GROUP}/{name}" if name in plan.volumes else f"PARTUUID={plan.partition(name).partuuid}"
        lines.append(f'BOOT_ARGS_{slot}="root={root} {KERNEL_ARGUMENTS} dfinity.system={slot}"\n')
    return "".join(lines)
