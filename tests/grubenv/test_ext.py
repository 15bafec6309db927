"""File systems of the ext family: what GRUB can't read of them is named, and nothing that stands there is believed."""

import os
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import grubenv
from grubenv.checking import check
from grubenv.disk import ext
from tests.grubenv.blocks import FALLBACK, SAMPLE
from tests.grubenv.disks import mounted
from tests.grubenv.support import fstest_cat, make_image, need

READABLE = ["", "^64bit", "meta_bg,^resize_inode", "mmp", "metadata_csum_seed", "large_dir", "encrypt", "bigalloc"]
UNREADABLE = [
    ("inline_data", "4096", "inline_data"),
    ("inline_data", "1024", "inline_data"),
    ("ea_inode", "4096", "ea_inode"),
    ("bigalloc", "1024", "bigalloc and blocks of 1 KiB"),
    ("ea_inode,inline_data", "2048", "ea_inode and inline_data"),
]


def fstest_says(image: Path) -> bytes:
    done = subprocess.run(
        ["grub-fstest", image, "cat", "(loop0)/grubenv"], capture_output=True, check=False, timeout=60
    )
    return done.stdout + done.stderr


@pytest.mark.devices
@pytest.mark.grub
@pytest.mark.parametrize("features", READABLE)
def test_what_grub_reads_is_sound(tmp_path: Path, features: str) -> None:
    with mounted(tmp_path, *(["-O", features] if features else [])) as point:
        (point / "grubenv").write_bytes(SAMPLE)
        grubenv.repair(point / "grubenv")
        assert check(point / "grubenv").damages == ()
        assert fstest_says(tmp_path / "disk.img") == SAMPLE


@pytest.mark.devices
@pytest.mark.grub
@pytest.mark.parametrize(("features", "size", "named"), UNREADABLE)
def test_what_grub_does_not_read_is_named_and_left_alone(tmp_path: Path, features: str, size: str, named: str) -> None:
    with mounted(tmp_path, "-b", size, "-I", "512", "-O", features) as point:
        path = point / "grubenv"
        path.write_bytes(SAMPLE)
        os.sync()
        [damage] = check(path).damages
        assert (damage.word, damage.text) == ("unreadable-file-system", f"on ext4 with {named}, which GRUB cannot read")
        inode = path.stat().st_ino
        done = grubenv.repair(path, FALLBACK)
        assert (done.how, done.remaining, done.copy) in {("unchanged", (damage,), None), ("flushed", (damage,), None)}
        assert (path.stat().st_ino, path.read_bytes()) == (inode, SAMPLE)
        # What can be mended of the bytes themselves is, for whoever moves the block.
        path.write_bytes(SAMPLE[:-1] + b"x")
        assert grubenv.repair(path, FALLBACK).remaining == (damage,)
        assert path.read_bytes() == SAMPLE
    assert b"unknown filesystem" in fstest_says(tmp_path / "disk.img")


@pytest.mark.grub
def test_each_feature_is_judged_as_grub_judges_it(tmp_path: Path) -> None:
    need("grub-fstest", "mke2fs")
    image = make_image(tmp_path, {"grubenv": SAMPLE})
    whole = image.read_bytes()
    features = struct.unpack_from("<L", whole, 1024 + 0x60)[0]
    assert fstest_cat(image, "grubenv") == SAMPLE
    for bit in range(32):
        if features & 1 << bit or 1 << bit == 0x10:  # meta_bg moves the group descriptors
            continue
        changed = bytearray(whole[1024:2048])
        struct.pack_into("<L", changed, 0x60, features | 1 << bit)
        with image.open("r+b") as file:
            os.pwrite(file.fileno(), changed, 1024)
        assert (ext.unreadable(bytes(changed)) is None) is (fstest_says(image) == SAMPLE), hex(1 << bit)


def test_words_for_what_is_refused() -> None:
    data = bytearray(1024)
    assert ext.unreadable(bytes(data)) == "no super block"
    assert ext.unreadable(bytes(1000)) == "no whole super block"
    struct.pack_into("<H", data, 0x38, 0xEF53)
    struct.pack_into("<L", data, 0x18, 2)
    struct.pack_into("<L", data, 0x4C, 1)
    struct.pack_into("<L", data, 0x60, 0x80028042)
    assert ext.unreadable(bytes(data)) == "inline_data and casefold and feature 0x80000000"
    struct.pack_into("<L", data, 0x4C, 0)
    assert ext.unreadable(bytes(data)) is None
    struct.pack_into("<L", data, 0x18, 16)
    assert ext.unreadable(bytes(data)) == "no super block"


def read_file(read: Callable[[int, int], bytes]) -> bytes | None:
    form = ext.geometry(read)
    number = ext.find_entry(ext.read_inode(read, form, 2), b"grubenv", form.block_size)
    return None if number is None else ext.read_inode(read, form, number)


@pytest.mark.parametrize("kind", ["ext4", "ext2"])
def test_any_bytes_are_read_or_refused(tmp_path: Path, kind: str) -> None:
    """Where an image is changed, cut off, or full of absurd numbers: only the one error, and bounded work."""
    need("mke2fs")
    image = make_image(tmp_path, {"grubenv": SAMPLE, "other": bytes(9000)}, kind).read_bytes()
    places: list[tuple[int, int]] = []

    def whole(offset: int, length: int) -> bytes:
        places.append((offset, length))
        return image[offset : offset + length]

    assert read_file(whole) == SAMPLE
    used = list(places)
    dice = random.Random(6)
    refused = other = 0
    for _ in range(3000):
        changes: dict[int, int] = {}
        for _ in range(dice.choice((1, 2, 4, 16))):
            offset, length = dice.choice(used)
            at = dice.choice((offset + dice.randrange(min(length, 128)), 1024 + dice.randrange(256)))
            changes[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        end = dice.choice((len(image), len(image), dice.randrange(len(image))))
        reads = 0

        def read(offset: int, length: int, changes: dict[int, int] = changes, end: int = end) -> bytes:
            nonlocal reads
            reads += 1
            assert 0 <= offset < 1 << 63
            assert 0 <= length <= 1 << 20
            data = bytearray(image[offset : min(offset + length, end)])
            for at, value in changes.items():
                if offset <= at < offset + len(data):
                    data[at - offset] = value
            return bytes(data)

        try:
            found = read_file(read)
        except ext.UnknownLayoutError:
            refused += 1
        else:
            other += found != SAMPLE
            assert found is None or len(found) <= 4 << 20
        assert reads < 50000
        ext.unreadable(read(1024, 1024))
    assert refused > 300
    assert other > 30
