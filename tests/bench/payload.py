"""An update image of the shape that IC-OS has: 11.7 GB apparent, about 1.2 GB of it files from Debian packages.

The same packages give images with the same files, identifiers and times of modification; the times at which the files
were unpacked are in there, too, so no two are the same. There are smaller images of the same make, to see that the
benchmark works.
"""

import os
import random
from pathlib import Path
from typing import NamedTuple

from bench.command import output

MIB = 1 << 20
GIB = 1 << 30
VERSION = "bench-1"

KERNEL = "linux-image-amd64"  # stands for the kernel that it depends on


class Shape(NamedTuple):
    """What is in an image, and how large the slot is that it goes to; in bytes."""

    name: str
    boot_size: int
    root_size: int
    """Of the slot; the image ends with its hash tree."""
    hash_tree_offset: int
    unique_hashes_size: int
    """The blocks of zeros all have the same hash."""
    packages: tuple[str, ...]
    """Of Debian; none stands for a few random files."""

    @property
    def hash_tree_size(self) -> int:
        """As of dm-verity's lowest level: 32 bytes for each 4096."""
        return self.hash_tree_offset // 4096 * 32


SHAPES = {
    shape.name: shape
    for shape in (
        # The hash tree lies where a GuestOS has its own.
        Shape("full", GIB, 10 * GIB, 10_603_200_512, 9 * MIB,
              (KERNEL, "firefox-esr", "libreoffice-core", "libllvm14", "docker.io")),
        Shape("small", 256 * MIB, 2 * GIB, 1900 * MIB, 2 * MIB, (KERNEL, "docker.io")),
        Shape("tiny", 8 * MIB, 24 * MIB, 20 * MIB, MIB // 32, ()),
    )
}  # fmt: skip

_EPOCH = "1700000000"


class Payload(NamedTuple):
    """The images, and the archive that holds them."""

    boot: Path
    root: Path
    archive: Path

    @property
    def images(self) -> tuple[Path, Path]:
        """The images, in the order in which they are installed."""
        return self.boot, self.root


def make_payload(directory: Path, shape: Shape) -> Payload:
    """Make the payload in a directory, or find it there."""
    payload = Payload(directory / "boot.img", directory / "root.img", directory / "update-img.tar.zst")
    if payload.archive.exists():
        return payload
    directory.mkdir(parents=True, exist_ok=True)
    tree = directory / "tree"
    # One that was ended on its way leaves a part of it.
    run("rm", "-rf", tree)
    if shape.packages:
        for package in sorted(_download(directory / "packages", shape.packages)):
            run("dpkg-deb", "--extract", package, tree)
    else:
        _random_files(tree)
    _file_system(payload.boot, shape.boot_size, tree / "boot")
    _file_system(payload.root, shape.hash_tree_offset, tree)
    _append_hash_tree(payload.root, shape)
    (directory / "VERSION.TXT").write_text(f"{VERSION}\n")
    partial = payload.archive.with_suffix(".part")
    owner = [f"--mtime=@{_EPOCH}", "--owner=0", "--group=0"]
    compress = "--use-compress-program=zstd --quiet -8 --long=27"
    run("tar", "--create", "--sparse", "--format=gnu", "--sort=name", *owner, compress, "--file", partial,
        "boot.img", "root.img", "VERSION.TXT", cwd=directory)  # fmt: skip
    run("rm", "-rf", tree, directory / "packages")
    partial.rename(payload.archive)
    return payload


def _random_files(tree: Path) -> None:
    dice = random.Random("files")
    for name, size in (("boot/vmlinuz", MIB), ("usr/lib/program", 3 * MIB)):
        file = tree / name
        file.parent.mkdir(parents=True)
        file.write_bytes(dice.randbytes(size))
        os.utime(file, (int(_EPOCH), int(_EPOCH)))


def _download(directory: Path, packages: tuple[str, ...]) -> list[Path]:
    directory.mkdir(exist_ok=True)
    depends = run("apt-cache", "depends", "--no-recommends", "--no-suggests", KERNEL)
    kernel = next(line.split()[1] for line in depends.splitlines() if "Depends: linux-image" in line)
    # apt fetches as a user of its own where it can; the directory may be closed to that one.
    names = [kernel if package == KERNEL else package for package in packages]
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", *names, cwd=directory)
    return list(directory.glob("*.deb"))


def _file_system(image: Path, size: int, content: Path) -> None:
    with image.open("wb") as file:
        file.truncate(size)
    identifier = str(random_uuid(image.name))
    run("mke2fs", "-q", "-t", "ext4", "-U", identifier, "-E", f"hash_seed={identifier},lazy_itable_init=1,nodiscard",
         "-d", content, image)  # fmt: skip


def random_uuid(seed: str) -> str:
    """Return an identifier that depends on nothing but the seed."""
    digits = random.Random(seed).randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _append_hash_tree(image: Path, shape: Shape) -> None:
    dice = random.Random("hash tree")
    with image.open("r+b") as file:
        file.seek(shape.hash_tree_offset)
        file.write(dice.randbytes(shape.unique_hashes_size))
        rest = shape.hash_tree_size - shape.unique_hashes_size
        file.write(dice.randbytes(32) * (rest // 32))


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that prepares something, with a clock that stands still for the file systems that it makes."""
    return output(command, env={**os.environ, "E2FSPROGS_FAKE_TIME": _EPOCH}, cwd=cwd)
