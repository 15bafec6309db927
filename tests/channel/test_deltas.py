"""A release by a delta: byte for byte what the full pack gives, at the cost that was told, whatever the seed holds."""

import errno
import hashlib
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import zstandard

from channel.test_source import watched_windows
from manageboot import errors
from manageboot.boot.floor import Installed
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.channel.chain import Link
from manageboot.channel.directory import Directory
from manageboot.channel.network import Network
from manageboot.channel.place import Place
from manageboot.channel.refusals import SeedError
from manageboot.channel.seed import deltas_from
from manageboot.channel.source import ReleaseImage
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.fetch import failures
from manageboot.install.passive import PassiveSlot
from manageboot.install.transfer import Transfer
from manageboot.protocol import Content
from manageboot.publish import build
from manageboot.release import costs, delta, description, index
from manageboot.release.layout import BLOCK_BYTES
from support import hostile
from support.deltas import changed, extent_of, with_delta
from support.hostile import Hostile, asked, honest
from support.memorydisk import Disk, blank_disks, writers_of
from support.releases import small_release, watched_decompressor

PATIENCE = {"stall": 30, "backoff": 0.001, "deadline": 600}


DICE = random.Random(19)
OLD_IMAGES = {"boot": DICE.randbytes(300_700), "root": DICE.randbytes(3 * WINDOW_BYTES + 5)}
NEW_IMAGES = changed(OLD_IMAGES, DICE)
OLD = small_release(OLD_IMAGES, version="1.0")
NEW = with_delta(small_release(NEW_IMAGES, version="1.1", release_index=2), NEW_IMAGES, OLD, OLD_IMAGES)
RELEASE = description.parse(NEW.description)
INDEX = index.Index(NEW.idx)
[DELTA] = RELEASE.deltas
FOUND = delta.verified(NEW.deltas[DELTA.idx_name], INDEX, DELTA, DELTA.idx_name)
COST = len(NEW.idx) + DELTA.idx.size + DELTA.pack.size
NAMED = {frame.sha256 for found in (INDEX, FOUND) for frame in found.frames()} | {
    # The columns of the index are one frame, and the SHA-256 of the file judged that.
    hashlib.sha256(NEW.deltas[DELTA.idx_name][40 + 32 * FOUND.frame_count :]).digest()
}


EMPTY_IMAGES = {"boot": b"nothing alike", "root": b"nor here"}
EMPTY = small_release(EMPTY_IMAGES, version="0.1")


class Memory:
    """The booted slot, in memory."""

    def __init__(self, content: Mapping[str, bytes]) -> None:
        self.content = {role: one + b"behind the image" * 512 for role, one in content.items()}
        self.broken_at: int | None = None

    def read_into(self, role: str, offset: int, targets: Sequence[memoryview]) -> None:
        end = offset + sum(map(len, targets))
        if self.broken_at is not None and offset <= self.broken_at < end:
            raise errors.DeviceError(f"cannot read {end - offset} bytes at {offset}")
        for target in targets:
            target[:] = self.content[role][offset : offset + len(target)]
            offset += len(target)


class Far(Directory):
    """A directory that counts as a network."""

    is_remote = True


class Done(NamedTuple):
    update: ReleaseImage
    disks: dict[str, Disk]

    def holds(self, content: Mapping[str, bytes] = NEW_IMAGES) -> bool:
        return all(self.disks[role].content.startswith(content[role]) for role in content)


class Run:
    """Installations to the same disks in memory."""

    def __init__(self) -> None:
        self.disks = blank_disks(NEW_IMAGES, 4 << 20)

    def install(
        self,
        place: Place,
        slot: Memory,
        *,
        folder: str = "1.1",
        may_fall_back: bool = True,
        release: description.Release = RELEASE,
        is_taken: bool = True,
    ) -> Done:
        names = {role: f"{role}.img" for role in self.disks}
        with ReleaseImage(place, folder, release, "0" * 64, list(names.values())) as update:
            writers = writers_of(self.disks, header_last="boot")
            if update.is_fetched:
                update.read_also(PassiveSlot(writers, "boot"))
                update.resume(lambda _: None)
            assert update.take_delta(Link(release.deltas[0]), slot, "", may_fall_back=may_fall_back) is is_taken
            # An installation looks at the beginnings first.
            assert all(member.head for member in update.known)
            by_name = {names[role]: writer for role, writer in writers.items()}
            Transfer(update, by_name, skip_identical=True, verify=False).run(update.members(), lambda: None)
            writers["boot"].write_header()
            return Done(update, self.disks)


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("www")
    NEW.write(directory / "1.1")
    return directory


def wrong_windows(content: Mapping[str, bytes]) -> list[index.Window]:
    """Windows that do not come out of these old images: put together once more, by the document."""
    old = {image.role: content[image.role] for image in DELTA.images}
    found = []
    frames = [unpacked(frame, old) for frame in range(FOUND.frame_count)]
    for number, image in enumerate(INDEX.images):
        for row, window in enumerate(FOUND.windows(number), INDEX.first_row(number)):
            blocks = b""
            for one in window.operations:
                if one.extent is not None:
                    blocks += extent_of(DELTA.images, dict(old), one.extent)
                elif one.frame is None:
                    blocks += bytes(one.blocks * BLOCK_BYTES)
                else:
                    blocks += frames[one.frame][one.first * BLOCK_BYTES :][: one.blocks * BLOCK_BYTES]
            begin, length = window.number * WINDOW_BYTES, image.length(window.number)
            if blocks[:length] != NEW_IMAGES[image.role][begin : begin + length]:
                found.append(INDEX.window(row)[1])
    return found


def unpacked(frame: int, old: dict[str, bytes]) -> bytes:
    stored = NEW.deltas[DELTA.pack_name][FOUND.offsets[frame] : FOUND.offsets[frame] + FOUND.frame(frame).size]
    raw = b"".join(extent_of(DELTA.images, old, extent) for extent in FOUND.dictionary(frame))
    dictionary = zstandard.ZstdCompressionDict(raw, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if raw else None
    try:
        return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(stored)
    except zstandard.ZstdError:
        return b""


def damaged(dice: random.Random, images: Mapping[str, bytes] = OLD_IMAGES) -> dict[str, bytes]:
    """Images with some bytes of some places changed: single ones, blocks, or all from a place on."""
    content = {role: bytearray(one) for role, one in images.items()}
    for _ in range(dice.randrange(1, 4)):
        one = content[dice.choice(["boot", "root", "root"])]
        at = dice.randrange(len(one))
        size = dice.choice([1, 1, BLOCK_BYTES, 40 * BLOCK_BYTES, len(one)])
        one[at : at + size] = dice.randbytes(len(one[at : at + size]))
    return {role: bytes(one) for role, one in content.items()}


def test_the_images_come_byte_for_byte_at_the_cost_that_was_told(www: Path):
    with watched_decompressor() as seen, watched_windows(NEW) as foreign:
        done = Run().install(Directory(str(www)), Memory(OLD_IMAGES))
    assert done.holds()
    assert (foreign, seen.unverified(NAMED)) == ([], 0)
    assert (str(done.update.way), done.update.bytes_read) == (f"{COST} bytes as delta from 1.0", DELTA.pack.size)
    assert (done.update.bytes_needed, done.update.remarks) == (DELTA.pack.size, ())


def test_a_delta_may_need_nothing_but_the_seed(tmp_path: Path):
    same = with_delta(small_release(OLD_IMAGES, version="1.1", release_index=2), OLD_IMAGES, OLD, OLD_IMAGES)
    same.write(tmp_path / "1.1")
    release = description.parse(same.description)
    assert release.deltas[0].pack.size == 0
    done = Run().install(Far(str(tmp_path)), Memory(OLD_IMAGES), release=release)
    assert done.holds(OLD_IMAGES)
    wrong = {**OLD_IMAGES, "boot": bytes(99) + OLD_IMAGES["boot"][99:]}
    assert Run().install(Far(str(tmp_path)), Memory(wrong), release=release).holds(OLD_IMAGES)


def test_a_server_sends_what_was_told_to_the_byte_in_few_requests(www: Path):
    with Hostile(honest, folder=www) as server:
        done = Run().install(Network([server.url], PATIENCE), Memory(OLD_IMAGES))
        assert done.holds()
        assert asked(server) == {
            "release.idx": len(NEW.idx),
            "from-1.0.idx": DELTA.idx.size,
            "from-1.0.pack": DELTA.pack.size,
        }
        assert done.update.way.bytes == sum(asked(server).values())
        assert len(server.asked) <= 10


def test_a_delta_that_costs_more_is_not_taken(tmp_path: Path):
    foreign = with_delta(small_release(NEW_IMAGES, version="1.1"), NEW_IMAGES, EMPTY, EMPTY_IMAGES)
    foreign.write(tmp_path / "1.1")
    release = description.parse(foreign.description)
    with ReleaseImage(Directory(str(tmp_path)), "1.1", release, "0" * 64, ["boot.img", "root.img"]) as update:
        assert not update.take_delta(Link(release.deltas[0]), Memory(EMPTY_IMAGES), "", may_fall_back=True)
        assert update.way.way == "full"
        assert [(way.way, way.bytes > update.way.bytes) for way in update.others] == [("delta", True)]


# In pieces: pytest keeps what is logged until a test ends, and with an error all that its frames hold, 10 MB each.
@pytest.mark.parametrize(
    "seeds",
    [range(20), *(pytest.param(range(at, at + 98), marks=pytest.mark.long) for at in range(20, 1000, 98))],
    ids=lambda seeds: f"from {seeds.start}",
)
def test_a_seed_that_is_wrong_costs_the_frames_of_its_windows_and_no_byte_is_wrong(www: Path, seeds: range):
    counts = set()
    for seed in seeds:
        content = damaged(random.Random(seed))
        wrong = wrong_windows(content)
        counts.add(len(wrong))
        with watched_decompressor() as seen, watched_windows(NEW) as foreign:
            done = Run().install(Directory(str(www)), Memory(content))
        assert done.holds()
        assert (foreign, seen.unverified(NAMED)) == ([], 0)
        assert done.update.bytes_needed == DELTA.pack.size + costs.pack_bytes(INDEX, wrong)
        assert bool(done.update.remarks) == bool(wrong)
    assert len(counts) > 3


def test_what_a_wrong_seed_costs_is_what_the_server_sends(www: Path):
    content = damaged(random.Random(3))
    wrong = wrong_windows(content)
    assert wrong
    with Hostile(honest, folder=www) as server:
        assert Run().install(Network([server.url], PATIENCE), Memory(content)).holds()
        sizes = asked(server)
    assert (sizes["from-1.0.pack"], sizes["full.pack"]) == (DELTA.pack.size, costs.pack_bytes(INDEX, wrong))


def test_a_seed_that_can_not_be_read_is_a_wrong_one(www: Path):
    slot = Memory(OLD_IMAGES)
    slot.broken_at = 2 * WINDOW_BYTES + 40 * BLOCK_BYTES
    done = Run().install(Directory(str(www)), slot)
    assert done.holds()
    assert done.update.remarks


def test_where_nothing_else_is_allowed_a_wrong_seed_is_an_error(www: Path):
    content = damaged(random.Random(3))
    with pytest.raises(SeedError, match=r"cannot install by the delta from 1\.0: the booted slot does not give window"):
        Run().install(Directory(str(www)), Memory(content), may_fall_back=False)


@pytest.mark.parametrize("fault", ["lacks", "damaged"])
def test_a_pack_that_is_bad_is_left_where_that_is_allowed(tmp_path: Path, fault: str):
    NEW.write(tmp_path / "1.1")
    pack = tmp_path / "1.1" / DELTA.pack_name
    if fault == "lacks":
        pack.unlink()
        with ReleaseImage(Directory(str(tmp_path)), "1.1", RELEASE, "0" * 64, ["boot.img", "root.img"]) as update:
            assert not update.take_delta(Link(DELTA), Memory(OLD_IMAGES), "", may_fall_back=True)
            with pytest.raises(errors.InputError):
                update.take_delta(Link(DELTA), Memory(OLD_IMAGES), "", may_fall_back=False)
        return
    content = bytearray(pack.read_bytes())
    content[FOUND.offsets[3] + 5] ^= 1
    pack.write_bytes(content)
    with watched_decompressor() as seen:
        assert Run().install(Directory(str(tmp_path)), Memory(OLD_IMAGES)).holds()
    assert seen.unverified(NAMED) == 0
    with pytest.raises(errors.ReleaseDigestError):
        Run().install(Directory(str(tmp_path)), Memory(OLD_IMAGES), may_fall_back=False)


def test_a_mirror_whose_index_of_a_delta_is_wrong_sends_the_full_pack(www: Path):
    """It is out for what it sent, and is asked for another file all the same: it is the only one."""
    with Hostile(hostile.wrong_bytes, folder=www, about="from-1.0.idx") as server:
        done = Run().install(Network([server.url], PATIENCE), Memory(OLD_IMAGES), is_taken=False)
        assert done.holds()
        assert asked(server)["full.pack"] == len(NEW.pack)


def test_a_disk_that_can_not_read_the_pack_of_a_delta_gives_the_full_one(www: Path, monkeypatch: pytest.MonkeyPatch):
    pread = os.pread

    def fails(descriptor: int, size: int, offset: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("from-1.0.pack"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", fails)
    assert Run().install(Directory(str(www)), Memory(OLD_IMAGES)).holds()


@pytest.mark.long
def test_a_server_that_lacks_the_pack_sends_the_full_one_instead(www: Path):
    with Hostile(hostile.answers(404), folder=www, about="from-1.0.pack") as server:
        assert Run().install(Network([server.url], PATIENCE), Memory(OLD_IMAGES)).holds()
        assert asked(server)["full.pack"] == len(NEW.pack)


@pytest.mark.long
def test_what_an_interrupted_installation_left_is_not_asked_for_again(www: Path):
    """The header of boot comes last, so its window is fetched once more; nothing else is."""
    limit = FOUND.offsets[3] + 10

    def ends(reply: hostile.Reply, wanted: hostile.Asked) -> None:
        if wanted.start >= limit:
            reply.keep = False
            return
        reply.part(wanted)
        reply.raw(wanted.content[wanted.start : min(wanted.stop, limit)])
        reply.keep = wanted.stop <= limit

    run = Run()
    with Hostile(ends, folder=www, about="from-1.0.pack") as server, pytest.raises(failures.FetchError):
        run.install(Network([server.url], {**PATIENCE, "deadline": 2}), Memory(OLD_IMAGES))
    with Hostile(honest, folder=www) as server:
        done = run.install(Network([server.url], PATIENCE), Memory(OLD_IMAGES))
        assert done.holds()
        sizes = asked(server)
    again = sum(FOUND.frame(number).size for number in (0, *range(3, FOUND.frame_count)))
    assert (sizes["from-1.0.pack"], "full.pack" in sizes) == (again, False)
    assert done.update.way.bytes == sum(sizes.values())


@pytest.mark.long
def test_what_the_builder_puts_into_a_pack_once_is_read_once(tmp_path: Path):
    """Far behind, a window needs a frame of the delta once more, and takes it from the passive slot."""
    dice = random.Random(7)
    old = {"boot": b"\x12" + dice.randbytes(3 * WINDOW_BYTES), "root": b"\x13" + dice.randbytes(2 * WINDOW_BYTES)}
    fresh = dice.randbytes(12 * WINDOW_BYTES)
    again = fresh[: WINDOW_BYTES // 2] + old["boot"][BLOCK_BYTES:WINDOW_BYTES]
    new = {"boot": old["boot"] + b"more", "root": old["root"][:WINDOW_BYTES] + fresh + again}
    for number, images in enumerate((old, new), 1):
        for role, content in images.items():
            (tmp_path / f"{role}.img").write_bytes(content)
        olds = (str(tmp_path / "1.1"),) if number == 2 else ()
        plan = build.Plan(output=str(tmp_path), release_index=number, version=f"1.{number}", olds=olds, level=1)
        build.build([str(tmp_path / "boot.img"), str(tmp_path / "root.img")], plan._replace(style="none", threads=2))
    release = description.parse((tmp_path / "1.2" / "release.json").read_bytes())
    run = Run()
    for disk in run.disks.values():
        disk.size = 32 << 20
        disk.content = bytearray(disk.size)
    wrong = {**old, "boot": old["boot"][:-99] + bytes(99)}
    done = run.install(Far(str(tmp_path)), Memory(wrong), folder="1.2", release=release)
    assert done.holds(new)
    [made] = release.deltas
    assert done.update.remarks
    reader = done.update._reader
    assert reader.bytes_read == done.update.bytes_needed
    assert done.update.bytes_needed < made.pack.size + 2 * WINDOW_BYTES


BOOTED = Installed("1.0", 1, 0, DELTA.sha256 or "", (), "aa")
RECORD = SlotRecord(
    Content.CONFIRMED,
    transaction="aa",
    images={image.role: ImageRecord(image.size, image.size, image.digest) for image in DELTA.images},
)
OTHER = RECORD._replace(images={role: one._replace(digest="0" * 64) for role, one in (RECORD.images or {}).items()})


@pytest.mark.parametrize(
    ("booted", "record", "fits"),
    [
        (BOOTED, None, True),
        (BOOTED, RECORD, True),
        (None, RECORD, True),
        (BOOTED, RECORD._replace(images=None), True),
        (BOOTED, RECORD._replace(images=None, transaction="bb"), False),
        (BOOTED, OTHER, False),
        (BOOTED._replace(sha256="0" * 64), None, False),
        (None, None, False),
        (None, RECORD._replace(images={}), False),
    ],
)
def test_a_delta_is_for_the_slot_that_holds_its_old_release(
    booted: Installed | None, record: SlotRecord | None, fits: bool
):
    assert deltas_from(RELEASE, booted, record) == ((DELTA,) if fits else ())
