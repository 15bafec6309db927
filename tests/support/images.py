"""Update images for tests: small, odd in the right places, made by GNU tar as IC-OS makes them."""

import random
import subprocess
from pathlib import Path

from support.loop import run
from support.once import put_copy

MIB = 1 << 20


def make_image(path: Path, size: int, *, seed: int, density: float = 0.3) -> Path:
    """Write an image file with data and holes: odd offsets, zeros in the data, and a size of any kind.

    Args:
        path: the file.
        size: in bytes.
        seed: the same seed gives the same image.
        density: how much of it is data.
    """
    dice = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size)
        written = 0
        while written < size * density:
            file.seek(dice.randrange(size))
            length = min(dice.choice([1, 511, 512, 4096, 65536, 300_000]), size - file.tell())
            file.write(dice.choice([dice.randbytes(length), bytes(length)]))
            written += length
        # The head matters most: it is what makes the slot bootable.
        file.seek(0)
        file.write(dice.randbytes(5000))
    return path


def make_update(
    directory: Path,
    *,
    version: str = "0.2.0",
    boot_size: int = 3 * MIB + 700,
    root_size: int = 9 * MIB,
    name: str = "update-img.tar.zst",
    seed: int = 1,
    members: tuple[str, ...] = ("boot.img", "root.img", "VERSION.TXT"),
) -> Path:
    """Make an update image in a directory, beside the files that it consists of; return its path."""

    def make(new: Path) -> None:
        make_image(new / "boot.img", boot_size, seed=seed)
        make_image(new / "root.img", root_size, seed=seed + 1)
        (new / "VERSION.TXT").write_text(f"{version}\n")
        pack(new, *members, name=name)

    directory.mkdir(parents=True, exist_ok=True)
    put_copy(directory, ("update", version, boot_size, root_size, name, seed, members), make)
    return directory / name


def make_boot_image(directory: Path, version: str, size: int, *, more: int = 0) -> Path:
    """Make the image of a boot file system with a kernel that GRUB can load.

    Args:
        directory: for the image, and for the files that go into it.
        version: what the kernel says of itself.
        size: of the file system, in bytes.
        more: how large another file in there is, in bytes.
    """
    content = directory / "content"
    content.mkdir(parents=True, exist_ok=True)
    for name in ("vmlinuz", "initrd.img"):
        (content / name).write_text(f"{name} of {version}\n")
    if more:
        make_image(content / "more", more, seed=3)
    image = directory / "boot.img"
    run("mke2fs", "-q", "-t", "ext4", "-d", content, image, f"{size >> 10}k")
    return image


def make_bootable_update(
    directory: Path,
    version: str,
    *,
    boot_size: int,
    root_size: int,
    more: int = 0,
    density: float = 0.3,
    name: str = "update-img.tar.zst",
) -> Path:
    """Make an update image that GRUB can boot, beside the files that it consists of; return its path."""

    def make(new: Path) -> None:
        make_boot_image(new, version, boot_size, more=more)
        make_image(new / "root.img", root_size, seed=len(version), density=density)
        (new / "VERSION.TXT").write_text(f"{version}\n")
        pack(new, "boot.img", "root.img", "VERSION.TXT", name=name)

    directory.mkdir(parents=True, exist_ok=True)
    put_copy(directory, ("bootable", version, boot_size, root_size, more, density, name), make)
    return directory / name


def pack(directory: Path, *members: str, name: str = "update-img.tar.zst") -> Path:
    """Make an archive of files in a directory, beside them; return its path."""
    archive = directory / name
    tar = ["tar", "--create", "--sparse", "--format=gnu", "--directory", str(directory), *members]
    zstd = ["zstd", "-q", "-c"]
    # A name that tells nothing is one that an orchestrator gives.
    compress = {".zst": zstd, ".bin": zstd, ".gz": ["gzip", "-c"], ".xz": ["xz", "-c"], ".tar": ["cat"]}
    with archive.open("wb") as out, subprocess.Popen(tar, stdout=subprocess.PIPE) as packing:
        subprocess.run(compress[archive.suffix], stdin=packing.stdout, stdout=out, check=True)
    assert packing.returncode == 0
    return archive
