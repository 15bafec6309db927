"""GPTs that sgdisk made, and what may have become of them."""

import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.offline import gpt
from support.loop import run

UUID = "d5214e4f-f7b0-b945-9a9b-52b9188df4c5"
SIZE = 64 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    run("sgdisk", "--new=2:2048:4095", "--change-name=2:A böot", "--new=7:8192:+8M", f"--partition-guid=7:{UUID}", path)
    return path


def read(path: Path) -> gpt.PartitionTable:
    with path.open("rb") as file:
        return gpt.read(str(path), file.fileno())


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), data, offset)


def test_what_sgdisk_made(disk: Path):
    table = read(disk)
    assert table.guid.upper() in run("sgdisk", "--print", disk)
    assert table.sector_size == 512
    assert [(one.label, one.offset, one.size) for one in table.partitions] == [
        ("A böot", 2048 * 512, 2048 * 512),
        ("", 8192 * 512, 8 << 20),
    ]
    assert table.find("PARTLABEL=A böot") == table.partitions[0]
    assert table.find(f"PARTUUID={UUID.upper()}") == table.partitions[1]


def test_what_is_not_there(disk: Path):
    table = read(disk)
    with pytest.raises(errors.DeviceMissingError, match=r"cannot find PARTLABEL=a on .*: no partition has it"):
        table.find("PARTLABEL=a")
    for spec in ("/dev/vda4", "LV=hostlvm/A_boot"):
        with pytest.raises(errors.ConfigError, match=f"cannot find {spec} on .*: only PARTUUID"):
            table.find(spec)
    with pytest.raises(errors.DeviceAmbiguousError, match="2 partitions have it"):
        table._replace(partitions=table.partitions * 2).find(f"PARTUUID={UUID}")


@pytest.mark.parametrize("at", [512, 512 + 60, 1024 + 40])
def test_a_damaged_table_is_read_at_the_end(disk: Path, at: int):
    before = read(disk)
    overwrite(disk, at, b"damage")
    assert read(disk) == before
    overwrite(disk, SIZE - 512 + at % 512, b"damage")
    if at < 1024:
        with pytest.raises(errors.PartitionTableError, match="it has no GPT, or a damaged one"):
            read(disk)


def test_sectors_of_4096(tmp_path: Path, disk: Path):
    """The same table as a disk with such sectors has it."""
    other = tmp_path / "large.img"
    with disk.open("rb") as file:
        header, entries = bytearray(os.pread(file.fileno(), 92, 512)), os.pread(file.fileno(), 128 * 128, 1024)
    header[16:20] = bytes(4)
    header[16:20] = struct.pack("<L", zlib.crc32(bytes(header)))
    other.write_bytes(bytes(header).rjust(4096 + 92, b"\0").ljust(8192, b"\0") + entries)
    with other.open("r+b") as file:
        file.truncate(SIZE * 8)
    table = read(other)
    assert (table.sector_size, table.partitions[0].offset) == (4096, 2048 * 4096)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (3000, 9000, "overlaps with another one"),
        (9000, 8000, "overlaps"),
        (40000, 1 << 30, "and the disk at 67108864"),
        (0, 2047, "overlaps with the table itself"),
        (33, 2047, "overlaps with the table itself"),
        (40000, SIZE // 512 - 33, "overlaps with the table itself"),
        (SIZE // 512 - 1, SIZE // 512 - 1, "overlaps with the table itself"),
    ],
)
def test_a_table_that_cannot_be_right(disk: Path, first: int, last: int, said: str):
    move(disk, first, last)
    with pytest.raises(errors.PartitionTableError, match=said):
        read(disk)


@pytest.mark.parametrize(("first", "last"), [(34, 2047), (40000, SIZE // 512 - 34)])
def test_partitions_may_reach_up_to_the_table(disk: Path, first: int, last: int):
    move(disk, first, last)
    assert read(disk).partitions[1].offset == first * 512


@pytest.mark.parametrize(("first", "last"), [(33, 2047), (40000, SIZE // 512 - 33)])
def test_the_second_table_is_judged_as_the_first(disk: Path, first: int, last: int):
    move(disk, first, last, header_at=SIZE - 512, entries_at=SIZE - 512 - 128 * 128)
    overwrite(disk, 512, b"damage")
    with pytest.raises(errors.PartitionTableError, match="overlaps with the table itself"):
        read(disk)


def move(path: Path, first: int, last: int, header_at: int = 512, entries_at: int = 1024) -> None:
    """Let the second partition lie elsewhere, by one of the tables."""
    with path.open("rb") as file:
        header = bytearray(os.pread(file.fileno(), 92, header_at))
        entries = bytearray(os.pread(file.fileno(), 128 * 128, entries_at))
    struct.pack_into("<QQ", entries, 6 * 128 + 32, first, last)
    struct.pack_into("<L", header, 88, zlib.crc32(bytes(entries)))
    struct.pack_into("<L", header, 16, 0)
    struct.pack_into("<L", header, 16, zlib.crc32(bytes(header)))
    overwrite(path, header_at, bytes(header))
    overwrite(path, entries_at, bytes(entries))


def test_no_table(tmp_path: Path):
    for content in (b"", b"x", bytes(1 << 20)):
        path = tmp_path / "file"
        path.write_bytes(content)
        with pytest.raises(errors.PartitionTableError):
            read(path)


def with_checksums(head: bytearray, tail: bytes, size: int) -> bytes:
    """Make a header right again, so that what it says is looked at; the entries are whatever lies where it says."""
    first, count, entry_size = struct.unpack_from("<QLL", head, 512 + 72)
    length = min(count * entry_size, 2 << 20)
    start = first * 512
    if start < len(head):
        entries = bytes(head[start : start + length]).ljust(min(length, size - start), b"\0")
    else:
        entries = (bytes(max(0, size - len(tail) - start)) + tail[max(0, start - (size - len(tail))) :])[:length]
    struct.pack_into("<L", head, 512 + 88, zlib.crc32(entries))
    header_size = struct.unpack_from("<L", head, 512 + 12)[0]
    struct.pack_into("<L", head, 512 + 16, 0)
    struct.pack_into("<L", head, 512 + 16, zlib.crc32(head[512 : 512 + min(header_size, 512)]))
    return bytes(head)


def test_whatever_a_table_says_is_used_or_refused(disk: Path):
    """Numbers of all sizes, with right checksums: what is used lies on the disk, and no two lie over each other."""
    with disk.open("rb") as file:
        kept = os.pread(file.fileno(), 34 * 512, 0)
        tail = os.pread(file.fileno(), 33 * 512, SIZE - 33 * 512)
    overwrite(disk, SIZE - 512, bytes(512))  # the second one would help out
    tail = tail[:-512] + bytes(512)
    dice = random.Random(9)
    fields = [(512 + at, "<L") for at in (12, 80, 84)] + [(512 + at, "<Q") for at in (24, 32, 40, 48, 72)]
    fields += [(1024 + 128 * number + at, "<Q") for number in (1, 6) for at in (0, 32, 40)]
    values = [0, 1, 2, 3, 33, 34, 127, 128, 129, 2048, 4095, 131071, 131072, (1 << 31) - 1, (1 << 32) - 1, 1 << 40]
    values += [(1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 2, SIZE // 512 - 1]
    used = refused = 0
    for _ in range(500):
        head = bytearray(kept)
        for at, form in dice.sample(fields, dice.choice((1, 1, 2, 3))):
            struct.pack_into(form, head, at, dice.choice(values) & ((1 << 8 * struct.calcsize(form)) - 1))
        overwrite(disk, 0, with_checksums(head, tail, SIZE))
        try:
            found = sorted(read(disk).partitions, key=lambda one: one.offset)
        except errors.PartitionTableError:
            refused += 1
            continue
        used += 1
        ends = [0, *(one.offset + one.size for one in found)]
        assert all(end <= one.offset for end, one in zip(ends, found, strict=False))
        assert ends[-1] <= SIZE
    assert used > 30
    assert refused > 150


def test_entries_that_end_with_the_disk_are_refused(disk: Path):
    head = bytearray(disk.read_bytes()[: 34 * 512])
    overwrite(disk, SIZE - 512, bytes(512))
    struct.pack_into("<QLL", head, 512 + 72, SIZE // 512 - 1, 5, 128)
    struct.pack_into("<L", head, 512 + 88, zlib.crc32(bytes(512)))
    struct.pack_into("<L", head, 512 + 16, 0)
    struct.pack_into("<L", head, 512 + 16, zlib.crc32(head[512 : 512 + 92]))
    overwrite(disk, 0, bytes(head))
    with pytest.raises(errors.PartitionTableError, match="it has no GPT, or a damaged one"):
        read(disk)
