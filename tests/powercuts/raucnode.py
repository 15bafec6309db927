"""A node that updates itself with RAUC: the system, set up as RAUC's documentation recommends, and bundles for it."""

import shutil
import tempfile
from pathlib import Path

from qemu_harness.cache import Cache, content_key
from qemu_harness.debian import Release, make_root
from qemu_harness.process import ALONE, run
from qemu_harness.slot import SlotImages

SCRIPT = Path(__file__).with_name("rauc.cfg")
MARK_GOOD = "rauc status mark-good"
"""What RAUC's documentation has a service run once a system is up; here the life says when."""

_COMPATIBLE = "manageboot-node"
# The service comes in a package of its own.
_PACKAGES = ("rauc", "rauc-service", "squashfs-tools")
_SYSTEM = f"""\
[system]
compatible={_COMPATIBLE}
bootloader=grub
grubenv=/boot/grub/grubenv
mountprefix=/run/rauc
data-directory=/data
bundle-formats=-plain
[keyring]
path=ca.cert.pem
""" + "".join(
    f"""\
[slot.rootfs.{number}]
device=/dev/disk/by-partlabel/{slot}_root
type=ext4
bootname={slot}
[slot.boot.{number}]
device=/dev/disk/by-partlabel/{slot}_boot
type=ext4
parent=rootfs.{number}
"""
    for number, slot in enumerate("AB")
)
# What RAUC keeps is for both slots, so it lies where no update writes.
_FSTAB = "PARTLABEL=config  /data  ext4  defaults  0 0\n"
_MANIFEST = """\
[update]
compatible={compatible}
version={version}
[bundle]
format=verity
[image.rootfs]
filename=root.ext4
[image.boot]
filename=boot.ext4
"""
_ENTER = 'mkdir -p "$1/proc" && mount -t proc none "$1/proc" && exec chroot "$@"'
_DAYS = "36500"


def add_rauc(cache: Cache, system: Path, release: Release) -> Path:
    """Give a copy of a system in which RAUC is installed."""
    tools, keys = _tools(cache, release), _keys(cache)
    key = content_key(system.name, tools.name, keys.name, Path(__file__))

    def build(directory: Path) -> None:
        run(["cp", "-a", "--reflink=auto", "--no-target-directory", system, directory])
        root = directory / "root"
        # What the system has already stays as it is.
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch, "rauc.tar")
            run(["tar", "--create", "--directory", tools / "root", "-f", archive, "."])
            run(["tar", "--extract", "--skip-old-files", "--directory", root, "-f", archive])
        run(["chroot", root, "ldconfig"])
        (root / "etc/rauc").mkdir(exist_ok=True)
        (root / "etc/rauc/system.conf").write_text(_SYSTEM)
        shutil.copy(keys / "certificate.pem", root / "etc/rauc/ca.cert.pem")
        (root / "data").mkdir()
        with (root / "etc/fstab").open("a") as file:
            file.write(_FSTAB)

    return cache.entry("system", key, build)


def bundle_name(version: str) -> str:
    """Name the bundle of a version on the medium."""
    return f"{version}.raucb"


def build_bundle(cache: Cache, images: SlotImages, release: Release) -> Path:
    """Give a bundle with the images of a slot, made by the RAUC of a release."""
    tools, keys = _tools(cache, release), _keys(cache)
    key = content_key(images.root.parent.name, tools.name, keys.name, Path(__file__))

    def build(directory: Path) -> None:
        # RAUC runs in a root of its release.
        root, inside = directory / "root", Path("tmp/bundle")
        run(["cp", "-a", "--reflink=auto", tools / "root", root])
        content = root / inside / "content"
        content.mkdir(parents=True)
        for name, image in (("root", images.root), ("boot", images.boot)):
            run(["cp", "--sparse=always", "--reflink=auto", image, content / f"{name}.ext4"])
        (content / "manifest.raucm").write_text(_MANIFEST.format(compatible=_COMPATIBLE, version=images.version))
        for name in ("key.pem", "certificate.pem"):
            shutil.copy(keys / name, root / inside / name)
        signed_by = [f"--cert=/{inside}/certificate.pem", f"--key=/{inside}/key.pem"]
        bundle = ["rauc", "bundle", *signed_by, f"/{inside}/content", f"/{inside}/update.raucb"]
        run([*ALONE, "sh", "-c", _ENTER, "sh", root, *bundle])
        shutil.move(root / inside / "update.raucb", directory / "update.raucb")
        shutil.rmtree(root)

    return cache.entry("bundle", key, build) / "update.raucb"


def _tools(cache: Cache, release: Release) -> Path:
    """Give a directory whose `root` has RAUC and all that it depends on, unpacked."""
    # The packages are those of the day of the build.
    key = content_key(release.value, *_PACKAGES)
    return cache.entry("rauc", key, lambda directory: make_root(directory / "root", release, _PACKAGES,
                                                                variant="extract"))  # fmt: skip


def _keys(cache: Cache) -> Path:
    """Give a directory with a key, and its certificate, which is its own authority."""

    def build(directory: Path) -> None:
        request = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=manageboot", "-days", _DAYS]
        purpose = ["-addext", "extendedKeyUsage=emailProtection"]
        files = ["-keyout", directory / "key.pem", "-out", directory / "certificate.pem"]
        run(["openssl", "req", *request, *purpose, *files])

    return cache.entry("keys", content_key(Path(__file__)), build)
