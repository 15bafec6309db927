"""Who takes part: each gets the payload ready in a way of its own, beforehand, and is one command then."""

import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from bench.payload import Payload, run
from bench.targets import Targets

SHELL = """\
set -e
work=$(mktemp -d "$TMPDIR/install.XXXXXX")
tar --extract --file {archive} --use-compress-program 'zstd --long=27' --directory "$work"
dd if="$work/boot.img" of={boot} bs=1M status=none
dd if="$work/root.img" of={root} bs=1M status=none
dd if=/dev/zero of={var} bs=1M count=16 status=none
sync
rm -r "$work"
"""

MANAGEBOOT = """\
profile = "custom"
[boot]
grubenv = "{work}/grubenv"
cmdline = "{work}/cmdline"
[state]
directory = "{work}/state"
lock = "{work}/run/lock"
[install]
verify = {verify}
[slots.A]
boot = "/dev/none-boot"
root = "/dev/none-root"
[slots.B]
boot = "{boot}"
root = "{root}"
var = "{var}"
"""

RAUC_SYSTEM = """\
[system]
compatible=bench
bootloader=noop
statusfile={work}/status
mountprefix={work}/mount
[keyring]
path={work}/certificate.pem
[slot.rootfs.0]
device=/dev/none-root
type=raw
bootname=A
[slot.rootfs.1]
device={root}
type=raw
bootname=B
[slot.boot.0]
device=/dev/none-boot
type=raw
parent=rootfs.0
[slot.boot.1]
device={boot}
type=raw
parent=rootfs.1
"""

RAUC_MANIFEST = """\
[update]
compatible=bench
version=1
[bundle]
format=plain
[image.rootfs]
filename=root.img
[image.boot]
filename=boot.img
"""

# The service leaves with the bus; the client's status is what counts.
RAUC = """\
exec dbus-run-session -- sh -c '
export DBUS_STARTER_BUS_TYPE=session
rauc --conf={work}/system.conf service --override-boot-slot=A & service=$!
for try in 1 2 3 4 5 6 7 8 9 10; do rauc status >/dev/null 2>&1 && break; sleep 0.1; done
rauc install {work}/bundle.raucb; status=$?
kill $service; wait $service; exit $status'
"""

SWUPDATE = """\
software = {{
  version = "1";
  hardware-compatibility: [ "1" ];
  images: (
{images}  );
}};
"""
SWUPDATE_IMAGE = """\
    {{ filename = "{name}.zst"; device = "{device}"; type = "raw"; compressed = "zstd"; installed-directly = true;
       sha256 = "{digest}"; }},
"""

WRITE_FLOOR = "dd if=/dev/zero of={root} bs=1M count={mib} oflag=direct conv=fsync status=none"
HASH_FLOOR = """\
import hashlib
window = bytes(1 << 20)
digest = hashlib.sha256()
for _ in range({mib}):
    digest.update(window)
"""

Command = list[str | Path]


class Contestant(NamedTuple):
    """One way to install, or a floor that no way can be below."""

    name: str
    prepare: Callable[[Payload, Targets, Path], Command]
    """Gets payload, targets and a folder of its own; returns the command."""
    is_floor: bool = False
    check_holes: bool = True
    """Whether every byte has to be the image's; bmaptool leaves old data in the holes."""


def _shell(payload: Payload, targets: Targets, _work: Path) -> Command:
    return ["sh", "-c", SHELL.format(archive=payload.archive, boot=targets.boot, root=targets.root, var=targets.var)]


def _manageboot(verify: str) -> Callable[[Payload, Targets, Path], Command]:
    def prepare(payload: Payload, targets: Targets, work: Path) -> Command:
        (work / "cmdline").write_text("dfinity.system=A\n")
        block = b"# GRUB Environment Block\nboot_alternative=A\nboot_cycle=stable\n"
        (work / "grubenv").write_bytes(block.ljust(1024, b"#"))
        text = MANAGEBOOT.format(work=work, verify=verify, boot=targets.boot, root=targets.root, var=targets.var)
        (work / "manageboot.toml").write_text(text)
        return [sys.executable, "-m", "manageboot", "-c", work / "manageboot.toml", "upgrade-install", payload.archive]

    return prepare


def _rauc(payload: Payload, targets: Targets, work: Path) -> Command:
    content = work / "content"
    content.mkdir()
    (content / "manifest.raucm").write_text(RAUC_MANIFEST)
    for image in (payload.boot, payload.root):
        run("cp", "--sparse=always", image, content / image.name)
    (work / "system.conf").write_text(RAUC_SYSTEM.format(work=work, boot=targets.boot, root=targets.root))
    key, certificate = _certificate(work)
    run("rauc", "bundle", f"--cert={certificate}", f"--key={key}", "--mksquashfs-args=-comp zstd -Xcompression-level 8",
        content, work / "bundle.raucb")  # fmt: skip
    run("rm", "-r", content)
    return ["sh", "-c", RAUC.format(work=work)]


def _certificate(work: Path) -> tuple[Path, Path]:
    key, certificate = work / "key.pem", work / "certificate.pem"
    request = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "30"]
    purpose = ["-addext", "extendedKeyUsage=emailProtection"]
    run("openssl", "req", *request, *purpose, "-keyout", key, "-out", certificate)
    return key, certificate


def _swupdate(payload: Payload, targets: Targets, work: Path) -> Command:
    images = ""
    key, certificate = _certificate(work)
    names = ["sw-description", "sw-description.sig"]
    for image, device in ((payload.boot, targets.boot), (payload.root, targets.root)):
        packed = work / f"{image.name}.zst"
        run("zstd", "--quiet", "-8", image, "-o", packed)
        digest = sha256(packed.read_bytes()).hexdigest()
        images += SWUPDATE_IMAGE.format(name=image.name, device=device, digest=digest)
        names.append(packed.name)
    (work / "sw-description").write_text(SWUPDATE.format(images=images.rstrip(",\n") + "\n"))
    sign = ["openssl", "cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-inkey", key]
    run(*sign, "-signer", certificate, "-in", work / names[0], "-out", work / names[1])
    run("sh", "-c", f"printf '%s\\n' {' '.join(names)} | cpio --quiet -o -H crc > update.swu", cwd=work)
    for name in names:
        (work / name).unlink()
    options = ["--no-transaction-marker", "--no-state-marker", "--hwrevision", "bench:1", "--key", certificate]
    return ["swupdate", *options, "--image", work / "update.swu"]


def _bmaptool(zero_first: bool) -> Callable[[Payload, Targets, Path], Command]:
    def prepare(payload: Payload, targets: Targets, work: Path) -> Command:
        lines = ["set -e"]
        for image, device in ((payload.boot, targets.boot), (payload.root, targets.root)):
            run("bmaptool", "create", "--output", work / f"{image.name}.bmap", image)
            run("zstd", "--quiet", "-8", image, "-o", work / f"{image.name}.zst")
            if zero_first:
                lines.append(f"blkdiscard --zeroout {device}")
            lines.append(f"bmaptool --quiet copy --bmap {image.name}.bmap {image.name}.zst {device}")
        return ["sh", "-c", "\n".join(lines)]

    return prepare


def _data_mib(payload: Payload) -> int:
    return sum(image.stat().st_blocks * 512 for image in (payload.boot, payload.root)) >> 20


def _decompress(payload: Payload, _targets: Targets, _work: Path) -> Command:
    return ["sh", "-c", f"zstd -dcq --long=27 {payload.archive} > /dev/null"]


def _write_directly(payload: Payload, targets: Targets, _work: Path) -> Command:
    return ["sh", "-c", WRITE_FLOOR.format(root=targets.root, mib=_data_mib(payload))]


def _hash(payload: Payload, _targets: Targets, _work: Path) -> Command:
    return [sys.executable, "-c", HASH_FLOOR.format(mib=_data_mib(payload))]


CONTESTANTS = [
    Contestant("zstd -dc", _decompress, is_floor=True),
    Contestant("direct write of the data", _write_directly, is_floor=True),
    Contestant("SHA-256 of the data", _hash, is_floor=True),
    Contestant("manageboot", _manageboot("true")),
    Contestant("manageboot, verify = false", _manageboot("false")),
    Contestant("shell: tar, dd, sync", _shell),
    Contestant("RAUC", _rauc),
    Contestant("SWUpdate", _swupdate),
    Contestant("bmaptool, zeroed first", _bmaptool(zero_first=True)),
    Contestant("bmaptool", _bmaptool(zero_first=False), check_holes=False),
]
