"""Memory stays bounded, whatever the image is or claims to be; measured in a process of its own."""

import gzip
import io
import json
import lzma
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from support.archives import END, GNU, base256, header, member, octal, pad, pax, records, table

MIB = 1 << 20
GIB = 1 << 30
READER = """
import json, mmap, sys
from manageboot.errors import DataError
from manageboot.image import open_image

window = memoryview(mmap.mmap(-1, 1 << 20))
sizes, error = {}, None
try:
    with open_image(sys.argv[1:]) as image:
        for member in image.members():
            sizes[member.name] = member.size
            for at in range(0, member.size, len(window)):
                member.readinto(window[: min(len(window), member.size - at)])
except DataError as caught:
    error = str(caught)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({"sizes": sizes, "error": error, "peak_mib": peak / 1024}))
"""


def read(*paths: Path) -> dict:
    """Read an image to its end, and tell its sizes, its error, and the largest memory that it took."""
    done = subprocess.run([sys.executable, "-c", READER, *map(str, paths)], stdout=-1, check=True, timeout=600)
    return json.loads(done.stdout)


def pieces_of_zeros(size: int) -> Iterator[bytes]:
    zeros = bytes(MIB)
    for _ in range(size // MIB):
        yield zeros


def packed(path: Path, compressor, parts: Iterator[bytes]) -> None:
    with path.open("wb") as file:
        for part in parts:
            file.write(compressor.compress(part))
        file.write(compressor.flush())


def bomb(head: bytes, size: int, tail: bytes) -> Iterator[bytes]:
    yield head
    yield from pieces_of_zeros(size)
    yield tail


@pytest.fixture(scope="module")
def sparse_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sparse")
    (folder / "boot.img").write_bytes(b"boot" * 1024)
    with (folder / "root.img").open("wb") as file:
        file.truncate(10 * GIB)
        for at in range(0, 10 * GIB, 40 * MIB):
            file.seek(at)
            file.write(bytes([1 + at // MIB % 250]) * 16384)
    return folder


@pytest.mark.parametrize("version", ["old-gnu", "0.0", "0.1", "1.0"])
def test_a_sparse_image_of_10_gib(version: str, sparse_folder: Path, tmp_path: Path):
    form = ["--format=gnu"] if version == "old-gnu" else ["--format=pax", f"--sparse-version={version}"]
    path = tmp_path / "update-img.tar.zst"
    command = ["tar", *form, "--zstd", "-S", "-C", sparse_folder, "-cf", path, "boot.img", "root.img"]
    subprocess.run(command, check=True)
    found = read(path)
    assert (found["error"], found["sizes"]) == (None, {"boot.img": 4096, "root.img": 10 * GIB})
    assert found["peak_mib"] < 60


def test_two_image_files_of_10_gib(sparse_folder: Path):
    found = read(sparse_folder / "boot.img", sparse_folder / "root.img")
    assert (found["error"], found["sizes"]) == (None, {"boot.img": 4096, "root.img": 10 * GIB})
    assert found["peak_mib"] < 60


def test_the_largest_window_costs_its_size_and_no_more(tmp_path: Path):
    path = tmp_path / "image.bin"
    parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed(path, compressor, bomb(member("boot.img", b"b") + header("root.img", 300 * MIB), 300 * MIB, END))
    found = read(path)
    assert (found["error"], found["sizes"]["root.img"]) == (None, 300 * MIB)
    assert 120 < found["peak_mib"] < 200


BOMBS = {
    "zstd": lambda: zstandard.ZstdCompressor(level=3).compressobj(),
    "gzip": lambda: zlib.compressobj(9, wbits=31),
    "xz": lambda: lzma.LZMACompressor(preset=0),
}


@pytest.mark.parametrize("form", BOMBS)
def test_a_member_that_swells_when_it_is_decompressed(form: str, tmp_path: Path):
    """A dense image of zeros is no error here (the device's size is the limit), but must not be held in memory."""
    size = 300 * MIB
    path = tmp_path / "image.bin"
    packed(path, BOMBS[form](), bomb(member("boot.img", b"b") + header("root.img", size), size, END))
    assert path.stat().st_size < size // 100
    found = read(path)
    assert (found["error"], found["sizes"]["root.img"]) == (None, size)
    assert found["peak_mib"] < 60


def test_members_without_a_place_are_limited(tmp_path: Path):
    path = tmp_path / "image.bin"
    head = member("boot.img", b"b") + header("extra", base256(400 * GIB))
    packed(path, BOMBS["zstd"](), iter([head, bytes(MIB)]))
    found = read(path)
    assert "member extra and others that have no place there exceed 68719476736 bytes" in found["error"]
    assert found["peak_mib"] < 60


def test_zeros_after_the_end_are_limited(tmp_path: Path):
    path = tmp_path / "image.bin"
    images = member("boot.img", b"b") + member("root.img", b"r") + END
    packed(path, BOMBS["zstd"](), bomb(images, 66 * MIB, b""))
    found = read(path)
    assert "more than 67108864 zeros after its end" in found["error"]
    packed(path, BOMBS["zstd"](), bomb(images, 60 * MIB, b""))
    assert read(path)["error"] is None


def test_an_endless_old_gnu_map_is_refused(tmp_path: Path):
    path = tmp_path / "image.bin"
    first = header("root.img", 0, b"S", GNU, at_386=table([(0, 0)] * 4, 4), at_482=b"\1", at_483=octal(8 * GIB - 1))
    extension = pad(table([(0, 0)] * 21, 21) + b"\1")
    packed(path, BOMBS["zstd"](), iter([first, *[extension * 1024] * 110]))
    found = read(path)
    assert "the sparse map has more than 2097152 extents" in found["error"]
    assert found["peak_mib"] < 100


def test_the_largest_sparse_map_is_kept_compactly(tmp_path: Path):
    """Two million extents, the most that are accepted, of which each costs 16 bytes."""
    path = tmp_path / "image.bin"
    count = 1 << 21
    text = io.BytesIO(f"{count}\n".encode())
    text.seek(0, io.SEEK_END)
    for at in range(count):
        text.write(b"%d\n512\n" % (at * 1024))
    sparse_map = pad(text.getvalue())
    stored = len(sparse_map) + count * 512
    body = records(
        ("GNU.sparse.major", 1),
        ("GNU.sparse.minor", 0),
        ("GNU.sparse.name", "root.img"),
        ("GNU.sparse.realsize", count * 1024),
    )
    head = member("boot.img", b"b") + pax(body) + header("x", stored) + sparse_map
    with path.open("wb") as file:
        file.write(zstandard.ZstdCompressor(level=1).compress(head))
    found = read(path)  # the data is missing, so it ends there
    assert found["error"] is not None
    assert "root.img ends after" in found["error"]
    assert found["peak_mib"] < 100


def test_a_large_extended_header(tmp_path: Path):
    path = tmp_path / "image.bin"
    numbers = ",".join(f"{at * 1024},512" for at in range(1_000_000))
    body = records(("GNU.sparse.size", 8 * GIB), ("GNU.sparse.numblocks", 1_000_000), ("GNU.sparse.map", numbers))
    content = member("boot.img", b"b") + pax(body) + header("root.img", 512_000_000)
    path.write_bytes(gzip.compress(content, 1))
    found = read(path)
    assert "root.img ends after 0 of 512000000" in found["error"]
    assert found["peak_mib"] < 100
