"""FAT as GRUB reads it, whatever the specification says of it. GRUB is the judge, before and after an update."""

import itertools
import random
import struct
from pathlib import Path

import pytest

import grubenv
from grubenv import Inside
from grubenv.disk import fat as fat_on_disk
from support.fatdisk import MIB, FatDisk, make_fat
from tests.grubenv.blocks import SAMPLE, block
from tests.grubenv.support import need

pytestmark = pytest.mark.grub

SHAPES = {
    "fat32, 25,546 clusters": (32, 100 * MIB, ["-F", "32", "-s", "8"]),
    "fat32, 25,518 clusters of one 4Kn sector": (32, 100 * MIB, ["-F", "32", "-S", "4096", "-s", "1"]),
    "fat32, 1,591 clusters": (32, 100 * MIB, ["-F", "32", "-s", "128"]),
    "fat32, 252 clusters": (32, 2 * MIB, ["-F", "32", "-s", "16"]),
    "fat32, 201,616 clusters": (32, 100 * MIB, ["-F", "32", "-s", "1"]),
    "fat32, one FAT": (32, 64 * MIB, ["-F", "32", "-s", "8", "-f", "1"]),
    "fat32, four FATs": (32, 64 * MIB, ["-F", "32", "-s", "2", "-f", "4"]),
    "fat32, sectors of 1024": (32, 40 * MIB, ["-F", "32", "-S", "1024"]),
    "fat32, sectors of 2048": (32, 80 * MIB, ["-F", "32", "-S", "2048", "-s", "2"]),
    "fat32, sectors of 8192": (32, 80 * MIB, ["-F", "32", "-S", "8192", "-s", "1"]),
    "fat16, 4Kn": (16, 100 * MIB, ["-F", "16", "-S", "4096", "-s", "1"]),
    "fat16, sectors of 1024": (16, 40 * MIB, ["-F", "16", "-S", "1024", "-s", "4"]),
    "fat16, large clusters": (16, 100 * MIB, ["-F", "16", "-s", "32"]),
    "fat16, three FATs": (16, 32 * MIB, ["-F", "16", "-f", "3"]),
    "fat12, 4Kn": (12, 8 * MIB, ["-F", "12", "-S", "4096", "-s", "1"]),
    "fat12, small": (12, MIB, ["-F", "12", "-s", "1"]),
    "fat12, few root entries": (12, 2 * MIB, ["-F", "12", "-r", "16"]),
    "floppy": (12, 1440 * 1024, []),
}


def place_of(disk: FatDisk, name: str = "grubenv") -> Inside:
    return Inside(str(disk.path), disk.offset, disk.path.stat().st_size - disk.offset, name)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_grub_reads_is_read_and_updated_in_place(tmp_path: Path, shape: str) -> None:
    need("grub-fstest", "mkfs.vfat")
    bits, size, options = SHAPES[shape]
    disk = make_fat(tmp_path / "disk.img", size, *options)
    other = random.Random(1).randbytes(3 * disk.cluster + 1)
    disk.put(b"OTHER   BIN", other, bits=bits)
    disk.put(b"GRUBENV    ", SAMPLE, bits=bits, step=2)
    assert (disk.grub_reads("grubenv"), disk.grub_reads("other.bin")) == (SAMPLE, other)
    assert grubenv.read_bytes(place_of(disk)) == SAMPLE
    assert grubenv.read_bytes(place_of(disk, "other.bin")) == other
    before = disk.path.read_bytes()
    assert grubenv.update(place_of(disk), {"boot_alternative": "B"}).changed
    after = disk.path.read_bytes()
    assert len([at for at in range(0, size, 512) if before[at : at + 512] != after[at : at + 512]]) == 1
    assert disk.grub_reads("grubenv") == SAMPLE.replace(b"boot_alternative=A", b"boot_alternative=B")
    with pytest.raises(grubenv.AbsentError):
        grubenv.read_bytes(place_of(disk, "grub.cfg"))


def set_clusters(disk: FatDisk, count: int) -> FatDisk:
    """Let the file system have so many clusters; its FAT has room for more."""
    total = disk.data // disk.sector + count * disk.per_cluster
    disk.write(19, struct.pack("<H", 0))
    disk.write(32, struct.pack("<L", total))
    return FatDisk(disk.path)


@pytest.mark.parametrize("count", [4083, 4084, 4085, 4086, 4087, 4088])
def test_where_fat12_ends_decides_grub(tmp_path: Path, count: int) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = set_clusters(make_fat(tmp_path / "disk.img", 8 * MIB, "-F", "16", "-s", "1"), count)
    bits = 12 if count <= 4085 else 16
    disk.put(b"GRUBENV    ", SAMPLE, bits=bits, step=3)
    assert disk.grub_reads("grubenv") == SAMPLE
    if count != 4085:
        assert grubenv.read_bytes(place_of(disk)) == SAMPLE
        return
    # Linux would have written another chain, and a write along GRUB's may hit another file.
    with pytest.raises(grubenv.StorageError, match="GRUB and Linux follow a FAT of exactly 4085 clusters in different"):
        grubenv.update(place_of(disk), {"boot_alternative": "B"})
    disk.put(b"ONE        ", block(b"a=1\n", 512), bits=bits)
    assert grubenv.query(place_of(disk, "one")) == {"a": "1"}


def test_a_fat16_of_more_clusters_than_the_specification_allows(tmp_path: Path) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 34 * MIB, "-F", "16", "-s", "2", "-f", "1")
    disk.write(22, struct.pack("<H", 300))
    disk.write(13, b"\1")
    disk = set_clusters(FatDisk(disk.path), 66000)
    disk.put(b"GRUBENV    ", SAMPLE, bits=16, step=2)
    assert disk.grub_reads("grubenv") == SAMPLE
    assert grubenv.read_bytes(place_of(disk)) == SAMPLE


CHANGES = {
    "no signature": (510, b"\0\0", True),
    "no name of its kind": (82, b"        ", True),
    "another media byte": (21, b"\xf0", True),
    "a media byte that its FAT does not have": (21, b"\x01", False),
    "root entries": (17, b"\1\0", False),
    "a later version": (42, b"\1\0", False),
    "sectors of 256": (11, b"\0\1", False),
    "sectors of 768": (11, b"\0\3", False),
    "three sectors per cluster": (13, b"\3", False),
    "no sectors per cluster": (13, b"\0", False),
    "no reserved sectors": (14, b"\0\0", False),
    "no FAT": (16, b"\0", False),
    "a FAT of no sectors": (36, bytes(4), False),
    "no sectors": (32, bytes(4), False),
    "more sectors than its partition": (32, b"\0\0\0\x10", True),
    "more sectors than its FAT tells of": (32, b"\0\0\0\xf0", True),
    "the second FAT counts": (40, b"\x81\0", True),
    "the fifth of two FATs counts": (40, b"\x85\0", False),
    "all FATs count": (40, b"\x05\0", True),
    "another root directory": (44, b"\3\0\0\0", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_boot_sector_is_judged_as_grub_judges_it(tmp_path: Path, change: str) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 40 * MIB, "-F", "32", "-s", "2")
    disk.put(b"GRUBENV    ", SAMPLE, bits=32)
    offset, data, taken = CHANGES[change]
    disk.write(offset, data)
    assert disk.grub_reads("grubenv") == (SAMPLE if taken else None)
    if taken:
        assert grubenv.read_bytes(place_of(disk)) == SAMPLE
        return
    with pytest.raises(grubenv.StorageError if taken is False else grubenv.AbsentError):
        grubenv.read_bytes(place_of(disk))


@pytest.mark.parametrize("bits", [12, 16])
def test_the_upper_half_of_a_cluster_counts_on_every_fat(tmp_path: Path, bits: int) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 2 * MIB if bits == 12 else 32 * MIB, "-F", str(bits))
    disk.put(b"GRUBENV    ", SAMPLE, bits=bits)
    assert disk.grub_reads("grubenv") == SAMPLE
    disk.write(disk.root + disk.read(disk.root, 512).index(b"GRUBENV ") + 20, b"\1\0")
    assert disk.grub_reads("grubenv") is None
    with pytest.raises(grubenv.StorageError, match="a chain of its FAT leads to cluster 65538 of "):
        grubenv.read_bytes(place_of(disk))


NAMES = {
    b"GRUBENV\0   ": "grubenv",
    b"GRUBENV \0  ": "grubenv",
    b"GRUBENV X  ": "grubenv.x",
    b"GRUBENV X Y": "grubenv.x y",
    b"GRUBENV\tX  ": None,
}


@pytest.mark.parametrize("short", NAMES)
def test_a_short_name_ends_where_grub_ends_it(tmp_path: Path, short: bytes) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 2 * MIB, "-F", "12")
    disk.put(short, SAMPLE, bits=12)
    for name in ("grubenv", "grubenv.x", "grubenv.x y"):
        there = disk.grub_reads(name)
        assert there == (SAMPLE if name == NAMES[short] else None)
        try:
            assert grubenv.read_bytes(place_of(disk, name)) == there
        except grubenv.AbsentError:
            assert there is None


def test_only_the_fat_that_counts_is_followed(tmp_path: Path) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 40 * MIB, "-F", "32", "-s", "1")
    disk.put(b"GRUBENV    ", SAMPLE, bits=32, step=5)
    disk.write(disk.reserved * disk.sector + 3 * 4, struct.pack("<L", 9999999))
    assert disk.grub_reads("grubenv") is None
    with pytest.raises(grubenv.StorageError, match="a chain of its FAT leads to cluster 9999999 of "):
        grubenv.read_bytes(place_of(disk))
    disk.write(40, b"\x81\0")
    assert disk.grub_reads("grubenv") == SAMPLE
    assert grubenv.read_bytes(place_of(disk)) == SAMPLE


def test_what_lies_behind_the_end_of_a_file_need_not_be_sound(tmp_path: Path) -> None:
    need("grub-fstest", "mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 40 * MIB, "-F", "32", "-s", "1")
    disk.put(b"GRUBENV    ", SAMPLE, bits=32)
    disk.link(4, 99999999, 32)
    disk.link(2, 0, 32)  # the root directory ends within its first cluster
    assert disk.grub_reads("grubenv") == SAMPLE
    assert grubenv.update(place_of(disk), {"a": "1"}).changed
    # GRUB takes an entry with any of the reserved bits for the end.
    disk.link(3, 0x10000004, 32)
    assert disk.grub_reads("grubenv") != grubenv.SIGNATURE
    with pytest.raises(grubenv.StorageError, match="the chain of a file is 512 bytes too short"):
        grubenv.read_bytes(place_of(disk))


def mutants(image: bytes, count: int, heads: tuple[tuple[int, int], ...]) -> list[bytes]:
    """Change bytes of an image, mostly in the ranges that lead to everything else; the same ones each time."""
    dice = random.Random(12)
    found = []
    for _ in range(count):
        bad = bytearray(image)
        for _ in range(dice.choice((1, 2, 4, 16))):
            first, last = dice.choice((*heads, *heads, (0, len(image))))
            bad[dice.randrange(first, last)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        found.append(bytes(bad))
    return found


@pytest.mark.parametrize("shape", ["fat32, 252 clusters", "fat16, sectors of 1024", "fat12, small"])
def test_any_bytes_lead_to_the_file_or_to_an_error(tmp_path: Path, shape: str) -> None:
    """Within the partition, in few steps, and never twice to one place."""
    need("mkfs.vfat")
    bits, size, options = SHAPES[shape]
    disk = make_fat(tmp_path / "disk.img", size, *options)
    disk.put(b"OTHER   BIN", bytes(5000), bits=bits)
    disk.put(b"GRUBENV    ", SAMPLE, bits=bits, step=2)
    whole = disk.path.read_bytes()
    kept = whole[: disk.data + 64 * disk.cluster]
    fat = disk.reserved * disk.sector
    found = 0
    for bad in mutants(
        kept, 1500, ((0, 64), (11, 48), (fat, fat + 64), (disk.root, disk.root + 64), (disk.data, disk.data + 96))
    ):
        steps = 0

        def read(offset: int, length: int, bad: bytes = bad) -> bytes:
            nonlocal steps
            steps += 1
            assert offset >= 0
            assert 0 <= length <= 2 * MIB
            return bad[offset : offset + length].ljust(min(length, max(0, size - offset)), b"\0")

        try:
            file = fat_on_disk.find(read, size, "grubenv")
        except fat_on_disk.UnknownLayoutError:
            pass
        else:
            if file is not None and file.runs:
                found += 1
                assert sum(length for _, length in file.runs) == file.size
                taken = sorted(file.runs)
                assert all(sum(one) <= other[0] for one, other in itertools.pairwise(taken))
                assert sum(taken[-1]) <= size
        assert steps < 20000
    assert found > 100


def test_an_absurd_size_is_refused_before_its_chain_is_followed(tmp_path: Path) -> None:
    need("mkfs.vfat")
    disk = make_fat(tmp_path / "disk.img", 40 * MIB, "-F", "32", "-s", "1")
    disk.put(b"GRUBENV    ", SAMPLE, bits=32)
    disk.write(disk.data + 28, struct.pack("<L", 0xFFFFFFFF))
    with pytest.raises(grubenv.NotRegularError, match="4294967295 bytes are more than a block has"):
        grubenv.read_bytes(place_of(disk))
