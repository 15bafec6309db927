"""What we read is what GNU tar and the compressors' own tools unpack."""

import hashlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from manageboot.errors import DataError
from manageboot.image import open_image
from support.archives import digests

MIB = 1 << 20
NAMES = ["boot.img", "root.img", "VERSION.TXT"]
ROOT_EXTENTS = [(131072 + i * 400 * 1024, 4096 * (1 + i % 7)) for i in range(90)]
ROOT_DATA_SIZE = sum(length for _start, length in ROOT_EXTENTS)
OLD_GNU = ["--format=gnu", "--sparse"]
TAR_OPTIONS = {
    "dense-v7": ["--format=v7"],
    "dense-ustar": ["--format=ustar"],
    "dense-gnu": ["--format=gnu"],
    "dense-pax": ["--format=pax"],
    "sparse-old-gnu": OLD_GNU,
    "sparse-raw-scan": [*OLD_GNU, "--hole-detection=raw"],
    "sparse-pax-0.0": ["--format=pax", "--sparse", "--sparse-version=0.0"],
    "sparse-pax-0.1": ["--format=pax", "--sparse", "--sparse-version=0.1"],
    "sparse-pax-1.0": ["--format=pax", "--sparse", "--sparse-version=1.0"],
    "big-records": [*OLD_GNU, "--blocking-factor=2048"],
}
COMPRESSORS = {
    "tar": ["cat"],
    "tar.zst": ["zstd", "-q"],
    "tar.gz": ["gzip", "-n"],
    "tar.xz": ["xz", "-1"],
    "tar.bz2": ["bzip2", "-1"],
}


def write_extents(path: Path, size: int, extents: list[tuple[int, int]]) -> None:
    """Make a sparse file with data that compresses about as well as programs do."""
    chosen = random.Random(str(path.name))
    with path.open("wb") as file:
        file.truncate(size)
        for start, length in extents:
            file.seek(start)
            file.write((chosen.randbytes(length // 3 + 1) + b"manageboot" * (length // 10 + 1))[:length])


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three files: a boot image with 3 extents, a root image with 90 and a hole at its end."""
    folder = tmp_path_factory.mktemp("unpacked")
    write_extents(folder / "boot.img", MIB + 700, [(0, 4096), (262144, 65536), (MIB, 700)])
    write_extents(folder / "root.img", 40 * MIB, ROOT_EXTENTS)
    (folder / "VERSION.TXT").write_text("2f9ad7e3\n")
    return folder


def expected(archive: bytes, folder: Path) -> dict[str, str]:
    """Unpack with GNU tar."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["tar", "-x", "-C", folder, "-f", "-"], input=archive, check=True)
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def archive_of(folder: Path, options: list[str], names: list[str]) -> bytes:
    return subprocess.run(["tar", "-C", folder, *options, "-cf", "-", *names], check=True, stdout=-1).stdout


def compress(archive: bytes, command: list[str]) -> bytes:
    return subprocess.run(command, input=archive, check=True, stdout=-1).stdout


@pytest.mark.parametrize("options", TAR_OPTIONS.values(), ids=TAR_OPTIONS)
def test_every_kind_of_tar_gives_what_gnu_tar_unpacks(options: list[str], unpacked: Path, tmp_path: Path):
    archive = archive_of(unpacked, options, NAMES)
    path = tmp_path / "image.bin"
    path.write_bytes(archive)
    with open_image([str(path)]) as image:
        assert digests(image) == expected(archive, tmp_path / "out")
        assert (image.format, image.bytes_total, image.bytes_read) == ("tar", len(archive), len(archive))
        assert image.sha256 == hashlib.sha256(archive).hexdigest()


@pytest.mark.parametrize("form", COMPRESSORS)
@pytest.mark.parametrize("kind", ["dense-ustar", "sparse-old-gnu"])
def test_every_compression_from_a_file_and_from_a_pipe(form: str, kind: str, unpacked: Path, tmp_path: Path):
    archive = archive_of(unpacked, TAR_OPTIONS[kind], NAMES)
    packed = compress(archive, COMPRESSORS[form])
    path = tmp_path / "image.bin"
    path.write_bytes(packed)
    want = expected(archive, tmp_path / "out")
    with open_image([str(path)]) as image:
        assert digests(image) == want
        assert (image.format, image.bytes_read) == (form, len(packed))
    with piped(packed, piece=7001), open_image(["-"]) as image:
        assert image.bytes_total is None
        assert digests(image) == want
        assert (image.format, image.bytes_read) == (form, len(packed))
        assert image.sha256 == hashlib.sha256(packed).hexdigest()


class piped:  # noqa: N801 - reads as a verb
    """Standard input is a pipe that somebody fills in small pieces."""

    def __init__(self, content: bytes, piece: int) -> None:
        self.content, self.piece = content, piece

    def __enter__(self) -> None:
        self.saved = os.dup(0)
        read_end, self.write_end = os.pipe()
        os.dup2(read_end, 0)
        os.close(read_end)
        self.thread = threading.Thread(target=self.fill)
        self.thread.start()

    def fill(self) -> None:
        with os.fdopen(self.write_end, "wb", buffering=0) as pipe:
            for at in range(0, len(self.content), self.piece):
                pipe.write(self.content[at : at + self.piece])

    def __exit__(self, *_: object) -> None:
        self.thread.join()
        os.dup2(self.saved, 0)
        os.close(self.saved)


@pytest.mark.parametrize("names", [["."], ["./root.img", "./VERSION.TXT", "./boot.img"], ["boot.img", "root.img"]])
def test_members_in_any_order_with_and_without_a_dot(names: list[str], unpacked: Path, tmp_path: Path):
    archive = archive_of(unpacked, ["--sort=name", *OLD_GNU], names)
    path = tmp_path / "image.bin"
    path.write_bytes(archive)
    with open_image([str(path)]) as image:
        assert digests(image) == expected(archive, tmp_path / "out")
        assert list(image.ignored) == []


def test_two_image_files(unpacked: Path):
    with open_image([str(unpacked / "boot.img"), str(unpacked / "root.img")]) as image:
        found = {}
        for member in image.members():
            if member.name == "root.img":
                assert ROOT_DATA_SIZE <= member.data_size < member.size // 2
            window = bytearray(member.size)
            member.readinto(memoryview(window))
            found[member.name] = bytes(window)
        assert (image.format, image.sha256, image.bytes_read) == ("files", None, image.bytes_total)
    assert found == {name: (unpacked / name).read_bytes() for name in ("boot.img", "root.img")}


def test_sparse_maps_are_those_of_the_file(unpacked: Path, tmp_path: Path):
    path = tmp_path / "image.bin"
    path.write_bytes(archive_of(unpacked, OLD_GNU, NAMES))
    with open_image([str(path)]) as image:
        for member in image.members():
            if member.name == "root.img":
                assert member.size == 40 * MIB
                assert member.data_size == ROOT_DATA_SIZE


def zstd_parts(archive: bytes) -> bytes:
    """Several frames, with and without checksum and size, with skippable ones all around."""
    note = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"
    third = len(archive) // 3
    return b"".join(
        [
            note,
            compress(archive[:third], ["zstd", "-q", "--no-check"]),
            note,
            b"\x50\x2a\x4d\x18\0\0\0\0",
            compress(b"", ["zstd", "-q"]),
            compress(archive[third:], ["zstd", "-q", "-19", "--long=27"]),
            note,
        ]
    )


def zstd_sizes(archive: bytes) -> bytes:
    """Frames that tell the size of their content in 1, 2, 4 and 8 bytes; the small ones have no window of their own."""
    compressor = zstandard.ZstdCompressor(level=1)
    frames, at = [], 0
    for size in (1, 255, 256, 300, 65791, 65792, 400_000, len(archive)):
        frames.append(compressor.compress(archive[at : at + size]))
        at += size
    size = min(len(archive), 200)
    eight = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + (1 | size << 3).to_bytes(3, "little") + bytes(size)
    return b"".join(frames) + eight  # whose content is padding after the archive's end


def xz_parts(archive: bytes) -> bytes:
    half = len(archive) // 2
    parts = [compress(part, ["xz", "-0", "--check=sha256"]) for part in (archive[:half], archive[half:])]
    return parts[0] + bytes(4 * 777) + parts[1] + bytes(8)


def gzip_parts(archive: bytes) -> bytes:
    size = 65536
    return b"".join(compress(archive[at : at + size], ["gzip", "-1"]) for at in range(0, len(archive), size))


def bzip2_parts(archive: bytes) -> bytes:
    half = len(archive) // 2
    return compress(archive[:half], ["bzip2"]) + compress(archive[half:], ["bzip2"])


@pytest.mark.parametrize("parts", [zstd_parts, zstd_sizes, xz_parts, gzip_parts, bzip2_parts])
def test_several_streams_are_one_archive(parts, unpacked: Path, tmp_path: Path):
    check_parts(parts, unpacked, tmp_path)


def test_several_gzip_members_are_one_archive_for_zlib_too(unpacked: Path, tmp_path: Path, zlib_only: None):
    check_parts(gzip_parts, unpacked, tmp_path)


def check_parts(parts, unpacked: Path, tmp_path: Path) -> None:
    archive = archive_of(unpacked, OLD_GNU, NAMES)
    path = tmp_path / "image.bin"
    path.write_bytes(parts(archive))
    with open_image([str(path)]) as image:
        assert digests(image) == expected(archive, tmp_path / "out")
        assert image.bytes_read == path.stat().st_size


def test_a_window_of_128_mib_is_accepted_and_a_larger_one_refused(unpacked: Path, tmp_path: Path):
    archive = archive_of(unpacked, OLD_GNU, NAMES)
    path = tmp_path / "image.bin"
    path.write_bytes(compress(archive, ["zstd", "-q", "-1", "--long=27"]))
    with open_image([str(path)]) as image:
        assert digests(image) == expected(archive, tmp_path / "out")
    path.write_bytes(compress(archive, ["zstd", "-q", "-1", "--long=28"]))
    with pytest.raises(DataError, match=r"asks for a window of 268435456 bytes"), open_image([str(path)]) as image:
        digests(image)


def test_an_image_beyond_8_gib_with_its_data_at_the_end(tmp_path: Path):
    """Base-256 numbers in the sizes and in the sparse map."""
    write_extents(tmp_path / "boot.img", 4096, [(0, 4096)])
    size = 9 * 1024 * MIB + 512
    write_extents(tmp_path / "root.img", size, [(0, 8192), (size - 1024, 1024)])
    for kind in ("sparse-old-gnu", "sparse-pax-0.1", "sparse-pax-1.0"):
        path = tmp_path / "image.bin"
        path.write_bytes(archive_of(tmp_path, TAR_OPTIONS[kind], ["boot.img", "root.img"]))
        with open_image([str(path)]) as image:
            _boot, root = ((member, list(data_windows(member))) for member in image.members())
            assert (root[0].size, [at for at, _ in root[1]]) == (size, [0, size - 512 - MIB, size - 512])
            with (tmp_path / "root.img").open("rb") as file:
                for at, content in root[1]:
                    file.seek(at)
                    assert file.read(MIB) == content


def data_windows(member) -> Iterator[tuple[int, bytes]]:
    at = 0
    while (at := at + member.skip_hole(MIB)) < member.size:
        window = bytearray(min(MIB, member.size - at))
        member.readinto(memoryview(window))
        yield at, bytes(window)
        at += len(window)
