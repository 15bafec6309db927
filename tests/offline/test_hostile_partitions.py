"""Partition tables as they come from other hands: read as they are meant, or refused in one sentence."""

import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.offline import gpt
from support.loop import loop_device, run

MIB = 1 << 20
SIZE = 16 * MIB
HEADER = struct.Struct("<8sLLLLQQQQ16sQLLL")
SIGNATURE, HEADER_BYTES, CRC, OWN, OTHER, FIRST, COUNT, ENTRY, ENTRIES = 0, 2, 3, 5, 6, 10, 11, 12, 13
"""The fields of it that are changed here."""
TYPE = bytes.fromhex("af3dc60f838472478e793d69d8477de4")

Change = dict[int, object]


def entry(number: int, first: int, last: int, *, size: int = 128, kind: bytes = TYPE, label: str = "") -> bytes:
    name = label.encode("utf-16-le").ljust(72, b"\0")[:72]
    return struct.pack("<16s16sQQQ72s", kind, bytes([number] * 16), first, last, 0, name).ljust(size, b"\0")


def protective(*kinds: int) -> bytes:
    return bytes(446) + b"".join(bytes(4) + bytes([kind]) + bytes(11) for kind in kinds).ljust(64, b"\0") + b"\x55\xaa"


def disk(
    path: Path,
    *,
    sector: int = 512,
    entries: bytes = entry(1, 2048, 4095, label="one") + entry(2, 4096, 8191, label="two"),
    change: Change | None = None,
    mbr: bytes = protective(0xEE),
    size: int = SIZE,
    primary: bool = True,
    backup: bool = True,
) -> Path:
    """Make a disk with both tables; `change` is of fields of the header, whose checksum is right nevertheless."""
    last = size // sector - 1
    sectors = -(-len(entries) // sector)
    path.write_bytes(b"")
    os.truncate(path, size)
    with path.open("r+b") as file:
        file.write(mbr)
        for wanted, own, other, first in ((primary, 1, last, 2), (backup, last, 1, last - sectors)):
            fields = [b"EFI PART", 0x10000, 92, 0, 0, own, other, 34, last - 34, b"G" * 16]
            fields += [first, len(entries) // 128, 128, zlib.crc32(entries)]
            for field, value in (change or {}).items():
                fields[field] = value
            fields[CRC] = zlib.crc32(HEADER.pack(*fields))
            if wanted:
                file.seek(first * sector)
                file.write(entries)
                file.seek(own * sector)
                file.write(HEADER.pack(*fields))
    return path


def read(path: str | Path) -> gpt.PartitionTable:
    with open(path, "rb") as file:
        return gpt.read(str(path), file.fileno())


def refused(path: Path) -> str:
    with pytest.raises(errors.PartitionTableError) as caught:
        read(path)
    return str(caught.value)


def test_the_disk_is_what_sgdisk_takes_for_one(tmp_path: Path):
    path = disk(tmp_path / "disk")
    assert [one.label for one in read(path).partitions] == ["one", "two"]
    assert "one" in run("sgdisk", "--print", path)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize(("primary", "backup"), [(True, True), (True, False), (False, True)])
def test_either_table_serves_with_sectors_of_either_size(tmp_path: Path, sector: int, primary: bool, backup: bool):
    entries = entry(1, 100, 199, label="one")
    table = read(disk(tmp_path / "disk", sector=sector, entries=entries, primary=primary, backup=backup))
    assert (table.sector_size, table.partitions[0].offset, table.partitions[0].size) == (
        sector,
        100 * sector,
        100 * sector,
    )


@pytest.mark.devices
@pytest.mark.parametrize("sector", [512, 4096])
def test_a_device_says_itself_what_its_sectors_are(tmp_path: Path, sector: int):
    """Of two tables, one for each size, the device's own counts; the other was there before."""
    path = disk(tmp_path / "disk", sector=4096, entries=entry(1, 100, 199, label="4096"))
    with (
        (disk(tmp_path / "other", entries=entry(1, 100, 199, label="512"))).open("rb") as other,
        path.open("r+b") as file,
    ):
        os.pwrite(file.fileno(), os.pread(other.fileno(), 92, 512), 512)
        os.pwrite(file.fileno(), os.pread(other.fileno(), 128, 1024), 1024)
    with loop_device(path, sector_size=sector) as device:
        assert [one.label for one in read(device).partitions] == [str(sector)]


@pytest.mark.parametrize(
    "change",
    [
        {SIGNATURE: b"EFI TRAP"},
        {HEADER_BYTES: 91},
        {HEADER_BYTES: 513},
        {HEADER_BYTES: (1 << 32) - 1},
        {OWN: 5},
        {FIRST: (1 << 64) - 1},
        {FIRST: 1 << 55},
        {FIRST: SIZE // 512 - 1},
        {FIRST: (1 << 64) - 1, ENTRIES: zlib.crc32(b"")},
        {FIRST: SIZE // 512, ENTRIES: zlib.crc32(b"")},
        {COUNT: (1 << 32) - 1},
        {COUNT: 1 << 20},
        {ENTRY: 0},
        {ENTRY: 127},
        {ENTRY: (1 << 32) - 1},
        {COUNT: (1 << 32) - 1, ENTRY: (1 << 32) - 1},
        {ENTRIES: 0},
    ],
)
def test_a_header_that_cannot_be_right(tmp_path: Path, change: Change):
    assert "it has no GPT, or a damaged one" in refused(disk(tmp_path / "disk", change=change))


@pytest.mark.parametrize("size", [128, 136, 256, 1000, 4096])
def test_entries_of_other_sizes(tmp_path: Path, size: int):
    entries = entry(1, 2048, 4095, size=size, label="one") + entry(2, 4096, 8191, size=size, label="two")
    table = read(disk(tmp_path / "disk", entries=entries, change={ENTRY: size, COUNT: 2}))
    assert [(one.label, one.offset) for one in table.partitions] == [("one", MIB), ("two", 2 * MIB)]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (entry(1, 2048, 4096) + entry(2, 4096, 8191), "overlaps with another one"),
        (entry(1, 2048, 2047), "overlaps with another one"),
        (entry(1, 2048, 0), "overlaps with another one"),
        (entry(1, 2048, (1 << 64) - 1), "and the disk at 16777216"),
        (entry(1, (1 << 64) - 1, (1 << 64) - 1), "and the disk at 16777216"),
        (entry(1, 0, 4095), "overlaps with the table itself"),
        (entry(1, 2, 2), "overlaps with the table itself"),
        (entry(1, 2048, SIZE // 512 - 1), "overlaps with the table itself"),
    ],
)
def test_partitions_that_cannot_be_right(tmp_path: Path, entries: bytes, said: str):
    assert said in refused(disk(tmp_path / "disk", entries=entries))


def test_a_disk_that_is_cut_off(tmp_path: Path):
    path = disk(tmp_path / "disk")
    for size in (9 * MIB, 3 * MIB, 2 * MIB + 1, 1536, 1024, 700, 512, 100, 0):
        os.truncate(path, size)
        if size == 9 * MIB:
            assert len(read(path).partitions) == 2
        else:
            refused(path)


@pytest.mark.parametrize(
    ("mbr", "taken"),
    [
        (protective(0xEE), True),
        (protective(0x0C, 0xEE, 0x83), True),
        (protective(0, 0, 0, 0xEE), True),
        (bytes(512), True),
        (protective(0xEE)[:510], True),
        (protective(0x83), False),
        (protective(0x0C, 0x83, 0x82, 0x05), False),
        (protective(), False),
    ],
)
def test_an_mbr_that_knows_of_no_gpt(tmp_path: Path, mbr: bytes, taken: bool):
    """As GRUB and Linux: behind such an MBR a GPT is what was left of an earlier life of the disk."""
    path = disk(tmp_path / "disk", mbr=mbr)
    if taken:
        assert len(read(path).partitions) == 2
    else:
        assert "its MBR has no entry of type EE" in refused(path)


def test_names_of_any_kind(tmp_path: Path):
    labels = [b"\0\xd8" * 36, b"\0\xdc\0\0", "a\nb\x1b[1m".encode("utf-16-le"), b"\xff" * 72]
    entries = b"".join(
        entry(number, 2048 * number, 2048 * number)[:56] + label.ljust(72, b"\0")
        for number, label in enumerate(labels, 1)
    )
    table = read(disk(tmp_path / "disk", entries=entries))
    assert len(table.partitions) == len(labels)
    for one in table.partitions:
        one.label.encode()
    with pytest.raises(errors.DeviceMissingError):
        table.find("PARTLABEL=none")


def test_as_many_entries_as_a_table_may_have(tmp_path: Path):
    entries = b"".join(entry(1, 4096 + number, 4096 + number) for number in range(8192))
    assert len(read(disk(tmp_path / "disk", entries=entries)).partitions) == 8192
    assert "damaged" in refused(disk(tmp_path / "disk", entries=entries + entry(1, 100_000, 100_000)))


def test_mutations_of_a_disk_are_read_or_refused(tmp_path: Path):
    """Half of them with checksums that are right again, so that all behind them is reached."""
    dice = random.Random(12)
    entries = b"".join(entry(number, 2048 * number, 2048 * number + 2047, label=str(number)) for number in range(1, 5))
    counts = {"read": 0, "refused": 0}
    for _ in range(600):
        mutated = bytearray(entries)
        change: Change = {}
        for _ in range(dice.randrange(3)):
            at = dice.randrange(len(mutated))
            mutated[at : at + 8] = dice.choice([bytes(8), b"\xff" * 8, dice.randbytes(8)])[: len(mutated[at : at + 8])]
        if dice.random() < 0.5:
            field = dice.choice([OWN, OTHER, FIRST, COUNT, ENTRY, HEADER_BYTES])
            wide = field in {OWN, OTHER, FIRST}
            change[field] = dice.choice([0, 1, 2, 127, 129, 1 << 31, (1 << (64 if wide else 32)) - 1])
        path = disk(
            tmp_path / "disk", entries=bytes(mutated), change=change, mbr=protective(dice.choice([0xEE, 0xEE, 7]))
        )
        if dice.random() < 0.3:
            with path.open("r+b") as file:
                os.pwrite(file.fileno(), dice.randbytes(4), dice.randrange(2048))
        try:
            table = read(path)
        except errors.PartitionTableError:
            counts["refused"] += 1
            continue
        counts["read"] += 1
        assert all(0 < one.offset < one.offset + one.size <= SIZE for one in table.partitions)
    assert min(counts.values()) > 100, counts
