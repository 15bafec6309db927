"""An update image of the shape that IC-OS has: 11.7 GB apparent, about 1.2 GB of it files from Debian packages.

The same packages give the same image: names, times, identifiers and the order of the files are fixed.
"""

import os
import random
import subprocess
from pathlib import Path
from typing import NamedTuple

GIB = 1 << 30
BOOT_SIZE = GIB
HASH_TREE_OFFSET = 10_603_200_512  # where a GuestOS has its dm-verity tree
HASH_TREE_SIZE = HASH_TREE_OFFSET // 4096 * 32
UNIQUE_HASHES_SIZE = 9 << 20  # bytes; the blocks of zeros all have the same hash
VERSION = "bench-1"

KERNEL = "linux-image-amd64"  # stands for the kernel that it depends on
PACKAGES = ("firefox-esr", "libreoffice-core", "libllvm14", "docker.io")

_EPOCH = "1700000000"


class Payload(NamedTuple):
    """The images, and the archive that holds them."""

    boot: Path
    root: Path
    archive: Path


def make_payload(directory: Path) -> Payload:
    """Make the payload in a directory, or find it there."""
    payload = Payload(directory / "boot.img", directory / "root.img", directory / "update-img.tar.zst")
    if payload.archive.exists():
        return payload
    directory.mkdir(parents=True, exist_ok=True)
    tree = directory / "tree"
    for package in sorted(_download(directory / "packages")):
        run("dpkg-deb", "--extract", package, tree)
    _file_system(payload.boot, BOOT_SIZE, tree / "boot")
    _file_system(payload.root, HASH_TREE_OFFSET, tree)
    _append_hash_tree(payload.root)
    (directory / "VERSION.TXT").write_text(f"{VERSION}\n")
    partial = payload.archive.with_suffix(".part")
    tar = ["tar", "--create", "--sparse", "--format=gnu", "--sort=name", f"--mtime=@{_EPOCH}", "--owner=0", "--group=0"]
    tar += ["boot.img", "root.img", "VERSION.TXT"]
    compress = ["zstd", "--quiet", "-8", "--long=27", "--stdout"]
    with partial.open("wb") as out, subprocess.Popen(tar, cwd=directory, stdout=subprocess.PIPE) as packing:
        subprocess.run(compress, stdin=packing.stdout, stdout=out, check=True)
    assert packing.returncode == 0
    run("rm", "-rf", tree, directory / "packages")
    partial.rename(payload.archive)
    return payload


def _download(directory: Path) -> list[Path]:
    directory.mkdir(exist_ok=True)
    depends = run("apt-cache", "depends", "--no-recommends", "--no-suggests", KERNEL)
    kernel = next(line.split()[1] for line in depends.splitlines() if "Depends: linux-image" in line)
    # apt fetches as a user of its own where it can; the directory may be closed to that one.
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", kernel, *PACKAGES, cwd=directory)
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


def _append_hash_tree(image: Path) -> None:
    dice = random.Random("hash tree")
    with image.open("r+b") as file:
        file.seek(HASH_TREE_OFFSET)
        file.write(dice.randbytes(UNIQUE_HASHES_SIZE))
        rest = HASH_TREE_SIZE - UNIQUE_HASHES_SIZE
        file.write(dice.randbytes(32) * (rest // 32))


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a command that prepares something, with a clock that stands still for the file systems that it makes."""
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": _EPOCH}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment)
    if done.returncode:
        raise RuntimeError(f"{command[0]} exited with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
