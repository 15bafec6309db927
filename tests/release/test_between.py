"""Pieces of a release that nobody has: whatever is asked for, in whatever order, is what the release has there."""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release import delta, description
from manageboot.release.between import Between
from manageboot.release.deltalayout import Extent
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES
from support.deltas import changed, extent_of, with_delta
from support.releases import small_release

DICE = random.Random(29)
OLD = {"boot": DICE.randbytes(300_700), "root": DICE.randbytes(WINDOW_BYTES) + bytes(2 * WINDOW_BYTES) + b"end" * 3000}
NEW = changed(OLD, DICE)
# A window that is not listed, since it is all zeros; and an old image whose last block goes on where the new one ends.
NEW["root"] = NEW["root"][:WINDOW_BYTES] + bytes(WINDOW_BYTES) + NEW["root"][2 * WINDOW_BYTES :]
NEW["boot"] = NEW["boot"][:-99]
OLD_RELEASE = small_release(OLD, version="1.0")
RELEASE = with_delta(small_release(NEW, version="1.1", release_index=2), NEW, OLD_RELEASE, OLD)
DESCRIBED = description.parse(RELEASE.description)
[DELTA] = DESCRIBED.deltas
FOUND = delta.verified(RELEASE.deltas[DELTA.idx_name], Index(RELEASE.idx), DELTA, DELTA.idx_name)


def read_old(wanted: Sequence[tuple[Extent, memoryview]]) -> None:
    for extent, target in wanted:
        target[:] = extent_of(DELTA.images, OLD, extent)


def read_pack(offset: int, size: int) -> bytes:
    return RELEASE.deltas[DELTA.pack_name][offset : offset + size]


def between(images: tuple[description.Image, ...] = DESCRIBED.images) -> Between:
    return Between(FOUND, images, read_pack, read_old, Unpacker(FOUND))


def some_extents(dice: random.Random, images: tuple[description.Image, ...]) -> list[Extent]:
    found = []
    for _ in range(dice.randrange(1, 9)):
        image = dice.randrange(len(images))
        most = -(-images[image].size // BLOCK_BYTES)
        first = dice.randrange(most)
        found.append(Extent(image, first, dice.randint(1, min(most - first, 600))))
    return found


def asked(ours: Between, extents: Sequence[Extent]) -> list[bytes]:
    buffers = [memoryview(bytearray(b"\xff" * (extent.blocks * BLOCK_BYTES))) for extent in extents]
    ours.read(list(zip(extents, buffers, strict=True)))
    return [bytes(buffer) for buffer in buffers]


def test_any_extents_come_as_the_release_has_them_by_any_threads():
    # The delta that follows may name the images in another order.
    images = DESCRIBED.images[::-1]
    ours = between(images)

    def look(seed: int) -> bool:
        extents = some_extents(random.Random(seed), images)
        return asked(ours, extents) == [extent_of(images, NEW, extent) for extent in extents]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(300)))


def test_each_block_comes_alone_too():
    for number, image in enumerate(DESCRIBED.images):
        ours = between()
        for first in range(-(-image.size // BLOCK_BYTES)):
            extent = Extent(number, first, 1)
            assert asked(ours, [extent]) == [extent_of(DESCRIBED.images, NEW, extent)]


def test_nothing_is_asked_for_nothing():
    between().read([])


def test_a_frame_that_is_wrong_is_given_to_nobody():
    def wrong(offset: int, size: int) -> bytes:
        return bytes(size) if offset else read_pack(offset, size)

    ours = Between(FOUND, DESCRIBED.images, wrong, read_old, Unpacker(FOUND))
    with pytest.raises(errors.ReleaseDigestError, match=r"its SHA-256 is .*, and .* was published"):
        asked(ours, [Extent(1, 0, 256)])
