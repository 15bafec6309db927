"""The disk at one instant: what it knows of itself, and how it goes back."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from powercuts.cuts import Cut
from powercuts.pending import Pending, Write
from powercuts.replay import BLOCK, REST, Region, Replay

REGIONS = [Region("grub", BLOCK, 4 * BLOCK), Region("A_boot", 8 * BLOCK, 8 * BLOCK)]
SIZE = 20 * BLOCK


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    # The last block of an image may be short.
    data = random.Random(1).randbytes(6 * BLOCK + 512)
    (tmp_path / "v1.img").write_bytes(data)
    return data


@pytest.fixture
def replay(tmp_path: Path, image: bytes) -> Iterator[Replay]:
    assert image
    (tmp_path / "base.img").write_bytes(bytes(SIZE))
    images = {"A_boot": {"v1": tmp_path / "v1.img"}}
    with Replay(tmp_path / "base.img", tmp_path / "disk.img", REGIONS, images) as made:
        yield made


def whole(replay: Replay) -> bytes:
    return replay.path.read_bytes()


def test_it_goes_forwards_and_back(replay: Replay):
    dice = random.Random(2)
    states = [(whole(replay), replay.fingerprint())]
    undos = []
    for _ in range(60):
        size = dice.choice([512, 1024, BLOCK, 3 * BLOCK])
        offset = dice.randrange(0, (SIZE - size) // 512) * 512
        undos.append(replay.write(offset, dice.choice([bytes(size), dice.randbytes(size)])))
        states.append((whole(replay), replay.fingerprint()))
    by_content = dict(states)
    assert len(by_content) == len(set(by_content.values())) > 30
    while undos:
        assert (whole(replay), replay.fingerprint()) == states[len(undos)]
        replay.undo([undos.pop()])
    assert (whole(replay), replay.fingerprint()) == states[0]


def test_it_knows_when_an_image_is_whole(replay: Replay, image: bytes):
    assert replay.versions("A_boot") == set()
    replay.write(8 * BLOCK, image)
    assert replay.versions("A_boot") == {"v1"}
    # What lies behind the image does not count.
    replay.write(15 * BLOCK, b"x" * BLOCK)
    assert replay.versions("A_boot") == {"v1"}
    undo = replay.write(8 * BLOCK + len(image) - 1, b"!")
    assert replay.versions("A_boot") == set()
    replay.undo([undo])
    assert replay.versions("A_boot") == {"v1"}


def test_it_notices_what_another_process_has_written(replay: Replay):
    before, fingerprint = replay.snapshot("grub"), replay.fingerprint()
    with replay.path.open("r+b") as file:
        file.seek(2 * BLOCK)
        file.write(b"saved")
    undos = replay.noticed("grub", before)
    assert [undo.offset for undo in undos] == [2 * BLOCK]
    assert replay.fingerprint("grub") != fingerprint[:1]
    replay.undo(undos)
    assert replay.fingerprint() == fingerprint
    assert whole(replay) == bytes(SIZE)


def test_every_byte_belongs_somewhere(replay: Replay):
    places = {0: REST, BLOCK: "grub", 5 * BLOCK - 1: "grub", 5 * BLOCK: REST, 8 * BLOCK: "A_boot", 16 * BLOCK: REST}
    assert {place: replay.owner(place) for place in places} == places


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_leaves_what_was_kept_in_its_order(replay: Replay, seed: int):
    dice = random.Random(seed)
    pending = Pending(replay)
    writes = []
    for _ in range(8):
        size = dice.choice([512, 1024, BLOCK])
        writes.append(Write(dice.randrange(0, (6 * BLOCK - size) // 512) * 512, dice.randbytes(size)))
        pending.write(writes[-1])
    everything, fingerprint = whole(replay), replay.fingerprint()
    for _ in range(20):
        kept = tuple(number for number in range(8) if dice.random() < 0.5)
        torn = (1, 2) if kept and len(writes[kept[-1]].data) > 512 and dice.random() < 0.5 else None
        expected = bytearray(SIZE)
        for number in kept:
            offset, data = writes[number]
            if torn and number == kept[-1]:
                offset, data = offset + 512, data[512:1024]
            expected[offset : offset + len(data)] = data
        with pending.cut(Cut(0, "lost", kept, torn)):
            assert whole(replay) == bytes(expected), (kept, torn)
        assert (whole(replay), replay.fingerprint()) == (everything, fingerprint)
