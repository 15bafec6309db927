"""Update images as IC-OS builds them, and the medium on which they reach a node."""

import tarfile
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from qemu_harness.cache import Cache, content_key
from qemu_harness.filesystem import make_ext4
from qemu_harness.layout import MIB
from qemu_harness.process import HarnessError, run
from qemu_harness.slot import SlotImages

MEMBERS = ("boot.img", "root.img", "VERSION.TXT")
QUICK_ZSTD = ("-3",)
# How IC-OS has compressed its images lately: a window of 128 MiB, which a reader has to allow.
LONG_ZSTD = ("-10", "--long=27")

TYPE_FLAG = slice(156, 157)
CHECKSUM = slice(148, 156)
FIRST_EXTENT = slice(386, 410)
REAL_SIZE = slice(483, 495)


def build_update(cache: Cache, images: SlotImages, zstd: Sequence[str] = QUICK_ZSTD) -> Path:
    """Give an `update-img.tar.zst` for the images of a slot."""
    key = content_key(images.root.parent.name, *zstd, Path(__file__))
    directory = cache.entry("update", key, lambda directory: _build(directory, images, zstd))
    return directory / "update-img.tar.zst"


def _build(directory: Path, images: SlotImages, zstd: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        archive = Path(scratch, "update-img.tar")
        version = Path(scratch, "VERSION.TXT")
        version.write_text(f"{images.version}\n")
        for name, image in (("boot.img", images.boot), ("root.img", images.root)):
            Path(scratch, name).hardlink_to(image)
        owner = ("--owner=0", "--group=0", "--numeric-owner", "--mode=0644", "--mtime=@0")
        run(["tar", "--create", "--sparse", "--format=gnu", *owner, "-f", archive, "-C", scratch, *MEMBERS])
        mark_sparse(archive, "VERSION.TXT")
        run(["zstd", "-q", "-T0", *zstd, archive, "-o", directory / "update-img.tar.zst"])


def mark_sparse(archive: Path, name: str) -> None:
    """Turn a plain member of an archive into a sparse one of a single extent.

    The file systems on which IC-OS is built report no blocks for a file as small as VERSION.TXT, so GNU tar takes it
    for sparse there. Other file systems report a block, and the member comes out plain.
    """
    with tarfile.open(archive) as reader:
        member = reader.getmember(name)
    if member.type == tarfile.GNUTYPE_SPARSE:
        return
    if member.type != tarfile.REGTYPE:
        raise HarnessError(f"cannot mark {name} in {archive} sparse: it is of type {member.type!r}")
    with archive.open("r+b") as file:
        file.seek(member.offset)
        header = bytearray(file.read(tarfile.BLOCKSIZE))
        header[TYPE_FLAG] = tarfile.GNUTYPE_SPARSE
        header[FIRST_EXTENT] = b"%011o\0%011o\0" % (0, member.size)
        header[REAL_SIZE] = b"%011o\0" % member.size
        header[CHECKSUM] = b" " * 8
        header[CHECKSUM] = b"%06o\0 " % sum(header)
        file.seek(member.offset)
        file.write(header)


def build_media(cache: Cache, files: Mapping[str, Path]) -> Path:
    """Give an ext4 image with the label `media` that holds files under the names given.

    The files come from the cache, so the directories that they lie in are named after their content.
    """
    names = [f"{name} {path.parent.name}" for name, path in sorted(files.items())]
    key = content_key(*names, Path(__file__))
    return cache.entry("media", key, lambda directory: _build_media(directory, files)) / "media.img"


def _build_media(directory: Path, files: Mapping[str, Path]) -> None:
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        for name, path in files.items():
            run(["cp", "--sparse=always", path, Path(scratch, name)])
        total = sum(path.stat().st_size for path in files.values())
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, "manageboot:media"))
        # An eighth for the file system's own tables, and never too small for its journal.
        size = 32 * MIB + (total + total // 8) // MIB * MIB
        make_ext4(directory / "media.img", size, label="media", uuid=identifier, content=Path(scratch))
