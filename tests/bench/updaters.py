"""Two updaters that others use, and how each is told to do the same: RAUC and SWUpdate."""

import shutil
from collections.abc import Callable
from hashlib import file_digest
from pathlib import Path

from bench.contestant import Command, Stage
from bench.payload import run
from bench.release import Updaters

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
rauc --conf={system} service --override-boot-slot=A & service=$!
for try in $(seq 100); do rauc status >/dev/null 2>&1 && break; sleep 0.1; done
rauc install {bundle}; status=$?
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


def rauc(release: Updaters) -> Callable[[Stage], Command]:
    """Return what prepares RAUC of a release: a bundle that this RAUC made, and a service that installs it."""

    def prepare(stage: Stage) -> Command:
        work, (boot, root, _) = stage.work, stage.targets.devices
        content = work / "content"
        content.mkdir()
        (content / "manifest.raucm").write_text(RAUC_MANIFEST)
        for image in stage.payload.images:
            run("cp", "--sparse=always", image, content / image.name)
        (work / "system.conf").write_text(RAUC_SYSTEM.format(work=work, boot=boot, root=root))
        key, signed_by = certificate(release, stage.directory, work)
        bundle = ["rauc", "bundle", f"--cert={signed_by}", f"--key={key}"]
        bundle += ["--mksquashfs-args=-comp zstd -Xcompression-level 8", content, work / "bundle.raucb"]
        run(*release.alone(stage.directory, *bundle))
        shutil.rmtree(content)
        return release.alone(
            stage.directory, "sh", "-c", RAUC.format(system=work / "system.conf", bundle=work / "bundle.raucb")
        )

    return prepare


def swupdate(release: Updaters) -> Callable[[Stage], Command]:
    """Return what prepares SWUpdate of a release: a signed file, and the command that installs it."""

    def prepare(stage: Stage) -> Command:
        work, images = stage.work, ""
        key, signed_by = certificate(release, stage.directory, work)
        names = ["sw-description", "sw-description.sig"]
        for image, device in zip(stage.payload.images, stage.targets.devices, strict=False):
            packed = work / f"{image.name}.zst"
            run("zstd", "--quiet", "-8", image, "-o", packed)
            with packed.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            images += SWUPDATE_IMAGE.format(name=image.name, device=device, digest=digest)
            names.append(packed.name)
        (work / "sw-description").write_text(SWUPDATE.format(images=images.rstrip(",\n") + "\n"))
        sign = ["openssl", "cms", "-sign", "-binary", "-nosmimecap", "-outform", "DER", "-inkey", key]
        sign += ["-signer", signed_by, "-in", work / names[0], "-out", work / names[1]]
        run(*release.alone(stage.directory, *sign))
        pack = f"cd {work} && printf '%s\\n' {' '.join(names)} | cpio --quiet -o -H crc > update.swu"
        run(*release.alone(stage.directory, "sh", "-c", pack))
        for name in names:
            (work / name).unlink()
        options = ["--no-transaction-marker", "--no-state-marker", "--hwrevision", "bench:1", "--key", signed_by]
        return release.alone(stage.directory, "swupdate", *options, "--image", work / "update.swu")

    return prepare


def certificate(release: Updaters, directory: Path, folder: Path) -> tuple[Path, Path]:
    """Make a key, and the certificate of it, in a folder of a directory that a release sees."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    request = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=bench", "-days", "36500"]
    purpose = ["-addext", "extendedKeyUsage=emailProtection", "-keyout", key, "-out", made]
    run(*release.alone(directory, "openssl", "req", *request, *purpose))
    return key, made
