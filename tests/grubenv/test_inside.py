"""A block inside a vfat file system that is not mounted: GRUB and mtools say what is there, before and after."""

import fcntl
import os
import random
import re
import struct
import subprocess
from pathlib import Path

import pytest

import grubenv
from grubenv import Inside, debug
from support.fatdisk import MIB, FatDisk
from tests.grubenv.blocks import block, lines

FIRST = MIB
"""Where the file system begins."""

SHAPES = {
    "fat12": (["-F", "12", "-s", "4"], 4 * MIB),
    "fat16": (["-F", "16", "-s", "4"], 32 * MIB),
    "fat16, small clusters": (["-F", "16", "-s", "1"], 16 * MIB),
    "fat32": (["-F", "32", "-s", "1"], 40 * MIB),
    "sectors of 4096": (["-F", "16", "-S", "4096", "-s", "1"], 32 * MIB),
}


class Disk:
    """An image whose file system begins somewhere, with files of all kinds around the block."""

    def __init__(self, directory: Path, options: list[str], size: int) -> None:
        self.directory = directory
        self.path = directory / "disk.img"
        with self.path.open("wb") as file:
            file.truncate(FIRST + size)
        self.tool(
            "mkfs.vfat",
            *options,
            "--offset",
            str(FIRST // (4096 if "4096" in options else 512)),
            str(self.path),
            str(size >> 10),
        )
        self.place = Inside(str(self.path), FIRST, size, "grubenv")

    def tool(self, *command: str, data: bytes = b"") -> bytes:
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done
        return done.stdout

    def put(self, name: str, data: bytes) -> None:
        source = self.directory / "source"
        source.write_bytes(data)
        self.tool("mcopy", "-o", "-i", f"{self.path}@@{FIRST}", str(source), f"::{name}")

    def get(self, name: str) -> bytes:
        return self.tool("mtype", "-i", f"{self.path}@@{FIRST}", f"::{name}")

    def remove(self, name: str) -> None:
        self.tool("mdel", "-i", f"{self.path}@@{FIRST}", f"::{name}")

    def fill(self) -> None:
        """Leave holes, long names, a directory and a volume label."""
        for number in range(40):
            self.put(f"a long name of a file, number {number}.mod", bytes([number]) * 700)
        for number in range(0, 40, 2):
            self.remove(f"a long name of a file, number {number}.mod")
        self.tool("mmd", "-i", f"{self.path}@@{FIRST}", "::grubenv.d")
        self.tool("mlabel", "-i", f"{self.path}@@{FIRST}", "::GRUBENV")


@pytest.fixture(params=SHAPES)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    made = Disk(tmp_path, *SHAPES[request.param])
    made.fill()
    return made


def test_it_is_read_as_mtools_read_it(disk: Disk):
    for name, size in (("grubenv", 1024), ("manageboot.env", 1024), ("A name with spaces.ENV", 3000), ("SHORT.TXT", 1)):
        data = random.Random(name).randbytes(size)
        disk.put(name, data)
        assert grubenv.read_bytes(disk.place.beside(name)) == data
        assert grubenv.read_bytes(disk.place.beside(name.upper())) == data
    disk.put("empty", b"")
    assert grubenv.read_bytes(disk.place.beside("empty")) == b""
    for name in ("nothing", "grubenv.d", "a long name of a file, number 2.mod"):
        with pytest.raises(grubenv.AbsentError, match=f"cannot read {disk.path}@@{FIRST}::{name}: there is no {name}"):
            grubenv.read_bytes(disk.place.beside(name))


def test_an_update_changes_one_sector(disk: Disk):
    disk.put("grubenv", block(lines(boot_alternative="A", boot_cycle="stable", other="kept")))
    before = disk.path.read_bytes()
    outcome = grubenv.update(disk.place, {"boot_alternative": "B", "boot_cycle": "first_boot"})
    assert outcome.how in {"direct", "buffered"}
    assert disk.get("grubenv") == block(lines(boot_alternative="B", boot_cycle="first_boot", other="kept"))
    assert grubenv.query(disk.place)["boot_cycle"] == "first_boot"
    after = disk.path.read_bytes()
    changed = [at for at in range(0, len(after), 512) if before[at : at + 512] != after[at : at + 512]]
    assert len(changed) == 1
    assert not grubenv.update(disk.place, {"boot_cycle": "first_boot"}).changed


def test_debug_shows_where_on_the_disk_it_writes(disk: Disk, monkeypatch: pytest.MonkeyPatch):
    shown: list[str] = []
    monkeypatch.setattr(debug, "tell", lambda text, *values: shown.append(text % values))
    disk.put("grubenv", block(lines(boot_alternative="A")))
    grubenv.update(disk.place, {"boot_alternative": "B"})
    [written] = [match for line in shown if (match := re.match(r"write (\S+) at (\d+), (\d+) bytes, ", line))]
    offset, length = int(written[2]), int(written[3])
    assert (written[1], length) == (str(disk.path), 512)
    assert disk.path.read_bytes()[offset : offset + length] == block(lines(boot_alternative="B"))[:length]


@pytest.mark.grub
def test_grub_finds_the_same(tmp_path: Path):
    made = Disk(tmp_path, *SHAPES["fat16"])
    made.fill()
    made.put("grubenv", block(lines(boot_cycle="stable")))
    grubenv.update(made.place, {"boot_cycle": "failsafe_check"})
    whole = tmp_path / "part.img"
    whole.write_bytes(made.path.read_bytes()[FIRST:])
    assert made.tool("grub-fstest", str(whole), "cat", "(loop0)/grubenv") == block(lines(boot_cycle="failsafe_check"))


def test_a_block_in_two_pieces(tmp_path: Path):
    made = Disk(tmp_path, *SHAPES["fat16, small clusters"])
    made.put("grubenv", block(lines(boot_cycle="stable")))
    _move_cluster(made, 3, 9)
    assert made.tool("mshowfat", "-i", f"{made.path}@@{FIRST}", "::grubenv") == b"::/grubenv <2> <9>\n"
    grubenv.update(made.place, {"boot_cycle": "failsafe_check"})
    for number in range(12):
        grubenv.update(made.place, {f"name{number}": "x" * 40})
    assert made.get("grubenv") == grubenv.read(made.place).build()
    assert len(grubenv.query(made.place)) == 13


def _move_cluster(disk: Disk, old: int, new: int) -> None:
    """Give the last cluster of a file another place, in every FAT."""
    with disk.path.open("r+b") as file:
        descriptor = file.fileno()
        reserved, fats, entries, per_fat = struct.unpack("<HBH3xH", os.pread(descriptor, 10, FIRST + 14))
        for fat in range(fats):
            at = FIRST + (reserved + fat * per_fat) * 512
            for cluster, value in ((old - 1, new), (old, 0), (new, 0xFFFF)):
                os.pwrite(descriptor, struct.pack("<H", value), at + 2 * cluster)
        data = FIRST + (reserved + fats * per_fat) * 512 + entries * 32 - 2 * 512
        os.pwrite(descriptor, os.pread(descriptor, 512, data + old * 512), data + new * 512)


def test_it_is_checked(disk: Disk):
    disk.put("grubenv", block(lines(a="1")))
    assert grubenv.check(disk.place).sound
    disk.put("grubenv", block(lines(a="1"))[:-1] + b"x")
    assert [damage.word for damage in grubenv.check(disk.place).damages] == ["stray-bytes"]


def test_nothing_is_made(disk: Disk):
    with pytest.raises(grubenv.AbsentError):
        grubenv.update(disk.place, {"a": "1"}, create_missing=True)


def test_another_writer_is_waited_for(tmp_path: Path):
    made = Disk(tmp_path, *SHAPES["fat12"])
    made.put("grubenv", block())
    with made.path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(grubenv.LockedError):
            grubenv.update(made.place, {"a": "1"}, timeout_s=0)
    assert grubenv.update(made.place, {"a": "1"}, timeout_s=0).changed


@pytest.mark.parametrize("damage", ["no media byte", "a circle", "a chain that leads out", "a chain that is too short"])
def test_a_damaged_file_system_is_an_error(tmp_path: Path, damage: str):
    made = Disk(tmp_path, *SHAPES["fat16, small clusters"])
    made.put("grubenv", block())
    with made.path.open("r+b") as file:
        descriptor = file.fileno()
        reserved = struct.unpack("<H", os.pread(descriptor, 2, FIRST + 14))[0]
        fat = FIRST + reserved * 512
        entries = {"a circle": 2, "a chain that leads out": 0x7FFF, "a chain that is too short": 0xFFFF}
        if damage in entries:
            os.pwrite(descriptor, struct.pack("<H", entries[damage]), fat + 2 * 2)
        else:
            os.pwrite(descriptor, bytes(1), fat)
    with pytest.raises(grubenv.StorageError):
        grubenv.read_bytes(made.place)


def _claim(disk: Disk, sectors: int) -> None:
    """Let the boot sector say how many sectors the file system has."""
    with disk.path.open("r+b") as file:
        os.pwrite(file.fileno(), struct.pack("<H", 0), FIRST + 19)
        os.pwrite(file.fileno(), struct.pack("<L", sectors), FIRST + 32)


def test_a_file_system_that_leads_into_the_next_partition_is_not_followed(tmp_path: Path):
    """The block's cluster lies behind the partition, in what would be a slot: neither read nor written."""
    size = 16 * MIB
    made = Disk(tmp_path, *SHAPES["fat16, small clusters"])
    made.put("grubenv", block(lines(boot_cycle="stable")))
    with made.path.open("r+b") as file:
        descriptor = file.fileno()
        reserved, fats, entries, per_fat = struct.unpack("<HBH3xH", os.pread(descriptor, 10, FIRST + 14))
        root = reserved + fats * per_fat
        data = root + entries * 32 // 512
        first = size // 512 - data + 2  # the first cluster behind the end
        for cluster, value in ((first, first + 1), (first + 1, 0xFFFF)):
            os.pwrite(descriptor, struct.pack("<H", value), FIRST + reserved * 512 + 2 * cluster)
        os.pwrite(descriptor, struct.pack("<H", first), FIRST + root * 512 + 26)
        os.pwrite(descriptor, block(lines(boot_cycle="stable", slot="A")), FIRST + size)
    _claim(made, size // 512 + 8)
    before = made.path.read_bytes()
    for use in (grubenv.read_bytes, lambda place: grubenv.update(place, {"boot_cycle": "first_boot"})):
        with pytest.raises(grubenv.StorageError, match=f"leads to cluster {first} of {first - 2}"):
            use(made.place)
    assert made.path.read_bytes() == before
    # It is the size of the partition that keeps us out, not the end of the disk.
    behind = Inside(made.place.device, FIRST, size + 8 * 512, "grubenv")
    assert dict(grubenv.query(behind)) == {"boot_cycle": "stable", "slot": "A"}


def test_clusters_that_the_fat_has_no_entries_for_are_not_followed(tmp_path: Path):
    made = Disk(tmp_path, *SHAPES["fat16, small clusters"])
    made.put("grubenv", block())
    disk = FatDisk(made.path, FIRST)
    entry = disk.read(disk.root, 32)
    disk.write(22, struct.pack("<H", 16))  # sectors of the FAT, behind which the root directory lies
    disk.write(FatDisk(made.path, FIRST).root, entry[:26] + struct.pack("<H", 16 * 256) + entry[28:])
    before = made.path.read_bytes()
    with pytest.raises(grubenv.StorageError, match="leads to cluster 4096 of 4094"):
        grubenv.update(made.place, {"a": "1"})
    assert made.path.read_bytes() == before


def test_an_image_that_is_cut_off_is_an_error(disk: Disk):
    disk.put("grubenv", block(lines(boot_cycle="stable")))
    whole = disk.path.read_bytes()
    at = whole.index(b"# GRUB Environment Block")
    reserved = struct.unpack_from("<H", whole, FIRST + 14)[0] * struct.unpack_from("<H", whole, FIRST + 11)[0]
    causes = []
    for cut in (FIRST, FIRST + 100, FIRST + reserved, FIRST + reserved + 5, at, at + 1000):
        disk.path.write_bytes(whole[:cut])
        with pytest.raises(grubenv.StorageError) as caught:
            grubenv.read_bytes(disk.place)
        causes.append(caught.value.cause)
        with pytest.raises(grubenv.StorageError):
            grubenv.update(disk.place, {"boot_cycle": "first_boot"})
        assert disk.path.read_bytes() == whole[:cut]
    assert causes[:2] == [f"its FAT file system is cut off at byte {length}" for length in (0, 100)]
    assert causes[-1].endswith("bytes could be read")
