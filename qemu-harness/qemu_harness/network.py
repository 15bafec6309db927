"""A node with a network: the system of every other node, and what fetching, signatures and a bad line need.

QEMU's user network leads from the node to servers on the host's loopback, which the node reaches at 10.0.2.2.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

from qemu_harness import base, debian
from qemu_harness.base import CLOUD_KERNEL
from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import HarnessError, run
from qemu_harness.slot import build_system

HOST = "10.0.2.2"
ARGUMENTS = ("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net")
"""For QEMU."""

_PACKAGES = {
    Release.BOOKWORM: ("python3-pycurl", "iproute2"),
    Release.TRIXIE: ("python3-pycurl", "iproute2", "python3-tuf", "python3-requests"),
}
# The card, and what delays, loses and redirects packets.
_MODULES = (
    *("drivers/net/virtio_net", "drivers/net/net_failover", "drivers/net/ifb", "net/core/failover"),
    *("net/sched/sch_netem", "net/sched/sch_ingress", "net/sched/cls_matchall", "net/sched/act_mirred"),
)
# Debian 12 has none that python-tuf can do with, so docs/channel.md says to put them in a directory of their own.
_WHEELS = {Release.BOOKWORM: ("tuf", "securesystemslib", "urllib3"), Release.TRIXIE: ()}
_CHANNEL = "usr/lib/manageboot/channel"
_FILES = {
    "etc/systemd/network/card.network": "[Match]\nType=ether\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
    "LinkLocalAddressing=no\nIPv6AcceptRA=no\n",
}
_ENABLED = ("systemd-networkd.service", "manageboot-update.timer")


def build_network_system(cache: Cache, files: dict[str, str], release: Release = Release.BOOKWORM) -> Path:
    """Give a directory as `build_system` does, with a network, and with files of the caller's.

    Args:
        cache: where it is kept.
        files: what else lies there, by path below the root; a script that begins with #! can be run, and a service that
            says who wants it is started.
        release: of Debian.
    """
    system = build_system(cache, CLOUD_KERNEL, release)
    [modules] = (system / "root/usr/lib/modules").iterdir()
    # The modules have to be those of the kernel that the base has, which need not be the newest any more.
    packages = (*_PACKAGES[release], f"linux-image-{modules.name}")
    sources = (Path(debian.__file__), Path(base.__file__), Path(__file__))
    extra = cache.entry(
        "network",
        content_key(release.value, *packages, *sources),
        lambda directory: _unpack(directory, release, packages),
    )
    files = _FILES | files
    key = content_key(system.name, extra.name, *(f"{name} {text}" for name, text in files.items()), Path(__file__))
    return cache.entry("system", key, lambda directory: _build(directory, system, extra, files, release))


def _unpack(directory: Path, release: Release, packages: tuple[str, ...]) -> None:
    """Leave `usr` and `etc` of packages, and of all that they depend on, without what no node needs."""
    root = directory / "root"
    make_root(root, release, packages, variant="extract")
    # As on a system, /lib and its like are below /usr.
    for name in ("bin", "lib", "sbin"):
        if (root / name).is_dir() and not (root / name).is_symlink():
            run(["cp", "-a", "--no-target-directory", root / name, root / "usr" / name])
    for path in [found for pattern in base.REMOVED if pattern.startswith("usr/") for found in root.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    [kernel] = (root / "usr/lib/modules").glob("*/kernel")
    for path in kernel.rglob("*.ko*"):
        if not path.relative_to(kernel).as_posix().startswith(tuple(f"{module}.ko" for module in _MODULES)):
            path.unlink()
    for name in ("usr", "etc"):
        (root / name).rename(directory / name)
    # Its devices above all: whoever reads /dev/full reads for ever.
    shutil.rmtree(root)


def _build(directory: Path, system: Path, extra: Path, files: dict[str, str], release: Release) -> None:
    run(["cp", "-a", "--reflink=auto", "--no-target-directory", system, directory])
    root = directory / "root"
    # What the system has of its own stays.
    for name in ("usr", "etc"):
        run(["cp", "-a", "--no-clobber", "--no-target-directory", extra / name, root / name])
    [modules] = (root / "usr/lib/modules").iterdir()
    run(["chroot", root, "depmod", modules.name])
    run(["chroot", root, "ldconfig"])
    for wheel in _WHEELS[release]:
        spec = find_spec(wheel)
        if spec is None or spec.origin is None:
            raise HarnessError(f"cannot build a node with a network: {wheel} is not installed")
        shutil.copytree(Path(spec.origin).parent, root / _CHANNEL / wheel, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    services = [Path(name).name for name, text in files.items() if name.endswith(".service") and "WantedBy=" in text]
    run(["chroot", root, "systemctl", "enable", *_ENABLED, *services])
