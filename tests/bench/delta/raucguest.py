"""RAUC's adaptive update of Debian 13, in a guest: `python -m bench.delta.raucguest URL CERTIFICATE OLD NEW`.

Its bundles are mounted through device-mapper and streamed through nbd, which not every host has; so RAUC runs in a node
in QEMU, with the devices of the host as its slots, and fetches from the server on the host. What the server counts is
the same as outside; time and memory are those of QEMU, and mean nothing here.
"""

import logging
import sys
from pathlib import Path

from bench.payload import run
from bench.release import RELEASES, Updaters
from bench.updaters import RAUC, certificate
from qemu_harness import network
from qemu_harness.cache import Cache, content_key
from qemu_harness.disk import build_disk
from qemu_harness.filesystem import make_ext4
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import FACTORY_VERSION
from qemu_harness.slot import build_slot_images

BUNDLE, CERTIFICATE = "update.raucb", "certificate.pem"

_RELEASE = RELEASES[-1]
_DEADLINE_S = 3600.0
_TOOLS_BYTES = 1 << 30
_TOOLS_UUID = "6f3e8a52-27e1-4c55-9a46-0d8b7b1f4d11"
_MANIFEST = """\
[update]
compatible=bench
version=1
[bundle]
format=verity
[image.rootfs]
filename=root.img
adaptive=block-hash-index
"""
_SYSTEM = """\
[system]
compatible=bench
bootloader=noop
bundle-formats=verity
data-directory=/data
mountprefix=/mount
[keyring]
path=/certificate.pem
[slot.rootfs.0]
device=/dev/disk/by-id/virtio-old
type=raw
bootname=A
[slot.rootfs.1]
device=/dev/disk/by-id/virtio-new
type=raw
bootname=B
"""
# RAUC and all that it needs lie on a disk that is read only.
_ENTER = """\
set -e
modprobe -a nbd loop dm-verity squashfs overlay
mkdir /run/lower /run/upper /run/tools
mount -o ro /dev/disk/by-id/virtio-tools /run/lower
mount -t tmpfs none /run/upper
mkdir /run/upper/new /run/upper/work
mount -t overlay none -o lowerdir=/run/lower,upperdir=/run/upper/new,workdir=/run/upper/work /run/tools
for shared in dev proc sys; do mount --rbind /$shared /run/tools/$shared; done
mkdir -p /run/tools/data /run/tools/mount
cat >/run/tools/system.conf
"""


def publish(image: Path, folder: Path) -> None:
    """Make the bundle with a new image in a folder, and the certificate that it was signed for."""
    content = folder / "content"
    content.mkdir()
    (content / "manifest.raucm").write_text(_MANIFEST)
    run("cp", "--sparse=always", image, content / "root.img")
    key, signed_by = certificate(_RELEASE, folder, folder)
    bundle = ["rauc", "bundle", f"--cert={signed_by}", f"--key={key}"]
    bundle += ["--mksquashfs-args=-comp zstd -Xcompression-level 19", content, folder / BUNDLE]
    run(*_RELEASE.alone(folder, *bundle))
    run("rm", "-r", content, key)


def main(url: str, signed_by: Path, old: str, new: str) -> int:
    """Install the bundle at a URL of the host's loopback from one device to another."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    cache = Cache.default()
    system = network.build_network_system(cache, {})
    disk = build_disk(cache, build_slot_images(cache, system, FACTORY_VERSION))
    arguments = list(network.ARGUMENTS)
    for name, path in (("tools", _tools(cache, _RELEASE)), ("old", old), ("new", new)):
        written = "" if name == "new" else ",readonly=on"
        arguments += ["-drive", f"if=none,id={name},format=raw,file={path}{written}"]
        arguments += ["-device", f"virtio-blk-pci,drive={name},serial={name}"]
    with VirtualMachine(cache, disk, extra_arguments=arguments) as machine:
        machine.wait_until_up()
        machine.check(_ENTER, stdin=_SYSTEM.encode())
        machine.check("cat >/run/tools/certificate.pem", stdin=signed_by.read_bytes())
        install = RAUC.format(system="/system.conf", bundle=url.replace("127.0.0.1", network.HOST))
        done = machine.run(["chroot", "/run/tools", "sh", "-c", install], timeout_s=_DEADLINE_S)
        print(done.stdout, done.stderr, sep="\n")
        machine.check("sync /dev/disk/by-id/virtio-new")
    return done.exit_code


def _tools(cache: Cache, release: Updaters) -> Path:
    root = release.root()
    key = content_key(root.parent.name, Path(__file__))
    made = cache.entry(
        "rauc-tools",
        key,
        lambda place: make_ext4(place / "root.img", _TOOLS_BYTES, label="tools", uuid=_TOOLS_UUID, content=root),
    )
    return made / "root.img"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
