"""Releases that other builders could make, and ours does not: they are installed from a network all the same."""

import hashlib
import random
from pathlib import Path

import pytest
import zstandard

from channel.test_deltas import Far
from manageboot.channel.source import ReleaseImage
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.install.passive import PassiveSlot
from manageboot.install.transfer import Transfer
from manageboot.release import description, indexwriter
from manageboot.release.description import Image, Release, Requirements
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES, Frame, Operation, Window
from support.memorydisk import blank_disks, writers_of
from support.releases import ARCHIVE, Small, file_of

pytestmark = pytest.mark.timeout(60)

BLOCKS = WINDOW_BYTES // BLOCK_BYTES
BOOT = b"B" * BLOCK_BYTES + bytes(BLOCK_BYTES)


def release(frames: list[bytes], windows: list[tuple[Operation, ...]]) -> tuple[Small, bytes]:
    """Make a release of frames, by their content, and of what each window of its root takes of them."""
    boot = (Operation(1, len(frames), 0), Operation(1, None, 0))
    frames = [*frames, BOOT[:BLOCK_BYTES]]
    stored = [zstandard.ZstdCompressor(level=1).compress(frame) for frame in frames]
    entries = [
        Frame(hashlib.sha256(one).digest(), len(one), len(frame) // BLOCK_BYTES)
        for one, frame in zip(stored, frames, strict=True)
    ]

    def content(operation: Operation) -> bytes:
        size, first = operation.blocks * BLOCK_BYTES, operation.first * BLOCK_BYTES
        return bytes(size) if operation.frame is None else frames[operation.frame][first : first + size]

    images = []
    rows = []
    for role, operations in (("root", windows), ("boot", [boot])):
        parts = [b"".join(map(content, one)) for one in operations]
        digests = [hashlib.sha256(part).digest() for part in parts]
        numbered = zip(range(len(parts)), digests, operations, strict=True)
        rows.append((role, sum(map(len, parts)), [Window(*one) for one in numbered]))
        images.append(b"".join(parts))
    idx, pack = indexwriter.encode(rows, entries), b"".join(stored)
    named = Release(
        version="1.1",
        release_index=2,
        min_index=0,
        built=None,
        requires=Requirements(),
        images=tuple(Image(role, size, Index(idx).digest(number)) for number, (role, size, _) in enumerate(rows)),
        archive_name=description.ARCHIVES[0],
        archive=file_of(ARCHIVE),
        idx=file_of(idx),
        pack=file_of(pack),
    )
    return Small(description.encode(named), idx, pack), images[0]


def install(tmp_path: Path, small: Small) -> bytes:
    """Install it as from a network; return what root holds then."""
    small.write(tmp_path / "1.1")
    disks = blank_disks(("root", "boot"), 16 << 20)
    names = {role: f"{role}.img" for role in disks}
    described = description.parse(small.description)
    with ReleaseImage(Far(str(tmp_path)), "1.1", described, "0" * 64, list(names.values())) as update:
        writers = writers_of(disks, header_last="boot")
        update.read_also(PassiveSlot(writers, "boot"))
        update.keep_in(str(tmp_path))
        assert all(member.head for member in update.known)
        by_name = {names[role]: writer for role, writer in writers.items()}
        Transfer(update, by_name, skip_identical=False, verify=False).run(update.members(), lambda: None)
    return bytes(disks["root"].content)


def test_a_window_that_needs_more_than_is_fetched_ahead(tmp_path: Path):
    dice = random.Random(4)
    frames = [dice.randbytes(4 * WINDOW_BYTES) for _ in range(3)]
    first = tuple(Operation(blocks, frame, 0) for frame, blocks in enumerate((85, 85, BLOCKS - 170)))
    rest = [(Operation(BLOCKS, frame, BLOCKS * part),) for frame in range(3) for part in (1, 2, 3)]
    small, root = release(frames, [first, *rest])
    assert install(tmp_path, small).startswith(root)


def test_a_window_of_zeros_that_is_listed_and_needed_again(tmp_path: Path):
    """It is at its place before the next one reads it there: what is made of it is not in memory any more."""
    zero, dice = bytes(BLOCK_BYTES), random.Random(4)
    frames = [zero + dice.randbytes(BLOCK_BYTES), *(zero * 86 + dice.randbytes(900 * BLOCK_BYTES) for _ in range(3))]
    zeros = (Operation(1, 0, 0), *(Operation(85, frame, 0) for frame in (1, 2, 3)))
    again = (Operation(1, 0, 0), Operation(BLOCKS - 1, 3, 86))
    small, root = release(frames, [zeros, again])
    assert install(tmp_path, small).startswith(root)
