"""File system images, made without mounting anything."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from qemu_harness.process import run

# All times that a build stamps into an image, so that the same content gives the same image.
EPOCH = "1700000000"
# What mke2fs of some releases turns on and GRUB 2.06 cannot read.
EXT4_OPTIONS = "^metadata_csum_seed,^orphan_file"


def make_ext4(image: Path, size: int, *, label: str, uuid: str, content: Path | None = None) -> None:
    """Make an ext4 image, sparse, with the content of a directory; owners and modes are taken over."""
    _allocate(image, size)
    options = f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    argv: list[str | Path] = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0"]
    argv += ["-L", label, "-U", uuid, "-O", EXT4_OPTIONS, "-E", options]
    if content:
        argv += ["-d", content]
    run([*argv, image], env={"SOURCE_DATE_EPOCH": EPOCH, "E2FSPROGS_FAKE_TIME": EPOCH})


def make_fat(
    image: Path, size: int, *, label: str, serial: str, directories: Sequence[str], files: Mapping[str, Path]
) -> None:
    """Make a FAT16 image with directories, and files or trees given as their path in the image and their source."""
    _allocate(image, size)
    run(["mkfs.vfat", "-F", "16", "-n", label, "-i", serial, image], env={"SOURCE_DATE_EPOCH": EPOCH})
    for directory in directories:
        run(["mmd", "-i", image, f"::{directory}"], env={"SOURCE_DATE_EPOCH": EPOCH})
    for path, source in files.items():
        run(["mcopy", "-s", "-m", "-i", image, source, f"::{path}"], env={"SOURCE_DATE_EPOCH": EPOCH})


def _allocate(image: Path, size: int) -> None:
    """Make a file of a size that is one hole."""
    with image.open("xb") as file:
        file.truncate(size)


def copy_into(source: Path, target: Path, offset: int) -> None:
    """Copy the data of a sparse file to a place in another file, and leave its holes out."""
    with source.open("rb") as reader, target.open("r+b") as writer:
        size = os.fstat(reader.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return  # nothing but a hole is left
                raise
            position = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            os.lseek(reader.fileno(), start, os.SEEK_SET)
            os.lseek(writer.fileno(), offset + start, os.SEEK_SET)
            left = position - start
            while left:
                left -= os.sendfile(writer.fileno(), reader.fileno(), None, left)
