"""A release through the one between: byte for byte, at the cost that was told, whatever is wrong on the way."""

import errno
import hashlib
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from channel.test_deltas import PATIENCE, Far, Memory, damaged
from channel.test_source import watched_windows
from manageboot import errors
from manageboot.boot.floor import Installed
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.channel import ahead, chain, network
from manageboot.channel.chain import Link, Links
from manageboot.channel.directory import Directory
from manageboot.channel.network import Network
from manageboot.channel.place import Place
from manageboot.channel.refusals import SeedError
from manageboot.channel.source import ReleaseImage
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.fetch import failures
from manageboot.install.passive import PassiveSlot
from manageboot.install.transfer import Transfer
from manageboot.protocol import Content
from manageboot.publish import build
from manageboot.release import delta, description, index
from manageboot.release.description import Release
from support import hostile
from support.chains import chain_of
from support.hostile import Hostile, asked, honest
from support.memorydisk import Disk, blank_disks, writers_of
from support.releases import watched_decompressor

DICE = random.Random(23)
OLD_IMAGES = {"boot": DICE.randbytes(300_700), "root": DICE.randbytes(3 * WINDOW_BYTES + 5)}
CHAIN = chain_of(OLD_IMAGES, DICE)
NEW_IMAGES = CHAIN.images[2]
RELEASE = CHAIN.release
BOOTED = Installed("1.0", 1, 0, CHAIN.first.sha256 or "", (), "aa")


def named() -> set[bytes]:
    """Return the SHA-256 of all that a decompressor may see."""
    found = {frame.sha256 for frame in index.Index(CHAIN.new.idx).frames()}
    for small, one in ((CHAIN.between, CHAIN.first), (CHAIN.new, CHAIN.second)):
        content = small.deltas[one.idx_name]
        read = delta.verified(content, index.Index(small.idx), one, one.idx_name)
        columns = content[40 + 32 * read.frame_count :]
        found |= {frame.sha256 for frame in read.frames()} | {hashlib.sha256(columns).digest()}
    return found


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("chains")
    CHAIN.between.write(directory / "1.1")
    CHAIN.new.write(directory / "1.2")
    return directory


class Node:
    """Installations to the same disks in memory, with a runtime directory."""

    def __init__(self, runtime: Path, release: Release = RELEASE, booted: Installed = BOOTED) -> None:
        self.runtime = runtime
        self.release = release
        self.booted = booted
        self.disks: dict[str, Disk] = blank_disks(NEW_IMAGES, 4 << 20)

    def install(self, place: Place, slot: Memory, *, may_fall_back: bool = True, is_taken: bool = True) -> ReleaseImage:
        names = {role: f"{role}.img" for role in self.disks}
        with ReleaseImage(place, "1.2", self.release, "0" * 64, list(names.values())) as update:
            writers = writers_of(self.disks, header_last="boot")
            if update.is_fetched:
                update.read_also(PassiveSlot(writers, "boot"))
                update.resume(lambda _: None)
            found = update.links(self.booted, None)
            assert bool(found) is is_taken
            for link in found:
                assert update.take_delta(link, slot, str(self.runtime), may_fall_back=may_fall_back)
            if update.is_fetched:
                update.keep_in(str(self.runtime))
            if update.bytes_ahead:
                is_there = update.fetch_ahead(lambda _: None, may_fall_back=may_fall_back)
                if update.is_fetched and not is_there:
                    update.keep_in(str(self.runtime))
            assert all(member.head for member in update.known)
            by_name = {names[role]: writer for role, writer in writers.items()}
            Transfer(update, by_name, skip_identical=True, verify=False).run(update.members(), lambda: None)
            writers["boot"].write_header()
            return update

    def holds(self, content: Mapping[str, bytes] = NEW_IMAGES) -> bool:
        return all(self.disks[role].content.startswith(content[role]) for role in content)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "run")


def test_the_images_come_byte_for_byte_at_the_cost_that_was_told(www: Path, node: Node):
    with watched_decompressor() as seen, watched_windows(CHAIN.new) as foreign:
        update = node.install(Directory(str(www)), Memory(OLD_IMAGES))
    assert node.holds()
    assert (foreign, seen.unverified(named())) == ([], 0)
    assert str(update.way) == f"{CHAIN.cost} bytes as delta from 1.0 through 1.1"
    assert update.way.to_json() == {"way": "delta", "bytes": CHAIN.cost, "from": "1.0", "through": "1.1"}
    assert update.bytes_read == update.bytes_total == CHAIN.second.pack.size
    assert update.bytes_needed == CHAIN.first.pack.size + CHAIN.second.pack.size
    assert update.remarks == ()


def test_a_server_sends_what_was_told_to_the_byte_in_few_requests(www: Path, node: Node):
    with Hostile(honest, folder=www) as server:
        update = node.install(Network([server.url], PATIENCE), Memory(OLD_IMAGES))
        assert node.holds()
        sizes = asked(server)
        del sizes["release.json"]
        assert sizes == {
            "release.idx": len(CHAIN.new.idx) + len(CHAIN.between.idx),
            "from-1.1.idx": CHAIN.second.idx.size,
            "from-1.0.idx": CHAIN.first.idx.size,
            "from-1.0.pack": CHAIN.first.pack.size,
            "from-1.1.pack": CHAIN.second.pack.size,
        }
        assert update.way.bytes == sum(sizes.values())
        assert len(server.asked) <= 10


@pytest.mark.parametrize(
    "seeds",
    [range(10), *(pytest.param(range(at, at + 99), marks=pytest.mark.long) for at in range(10, 1000, 99))],
    ids=lambda seeds: f"from {seeds.start}",
)
def test_a_seed_that_is_wrong_costs_frames_of_the_full_pack_and_no_byte_is_wrong(
    www: Path, tmp_path: Path, seeds: range
):
    wrong = 0
    for seed in seeds:
        node = Node(tmp_path / f"run{seed}")
        with watched_decompressor() as seen, watched_windows(CHAIN.new) as foreign:
            update = node.install(Directory(str(www)), Memory(damaged(random.Random(seed), OLD_IMAGES)))
        assert node.holds()
        assert (foreign, seen.unverified(named())) == ([], 0)
        wrong += bool(update.remarks)
    assert wrong > len(seeds) / 2


def test_where_nothing_else_is_allowed_a_wrong_seed_is_an_error(www: Path, node: Node):
    with pytest.raises(SeedError, match=r"cannot install by the delta from 1\.0: the booted slot does not give window"):
        node.install(Directory(str(www)), Memory(damaged(random.Random(3), OLD_IMAGES)), may_fall_back=False)


def lacks(path: Path) -> None:
    path.unlink()


def damages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FIRST_PACK = "1.1/from-1.0.pack"


@pytest.mark.parametrize("fault", [lacks, damages])
@pytest.mark.parametrize(
    "name", ["1.1/release.json", "1.1/release.idx", "1.1/from-1.0.idx", FIRST_PACK, "1.2/from-1.1.pack"]
)
def test_a_file_that_is_bad_costs_the_chain_where_that_is_allowed(
    tmp_path: Path, node: Node, fault: Callable[[Path], None], name: str
):
    CHAIN.between.write(tmp_path / "1.1")
    CHAIN.new.write(tmp_path / "1.2")
    fault(tmp_path / name)
    with ReleaseImage(Directory(str(tmp_path)), "1.2", RELEASE, "0" * 64, ["boot.img", "root.img"]) as update:
        found = update.links(BOOTED, None)
        if name == "1.1/release.json":
            assert found == ()
            return
        [link] = found
        opens = fault is damages and name.endswith(".pack")
        # Even where nothing else is allowed: what is between may have been withdrawn.
        taken = update.take_delta(link, Memory(OLD_IMAGES), str(node.runtime), may_fall_back=False)
        assert taken is opens
    with watched_decompressor() as seen:
        if opens:
            update = node.install(Far(str(tmp_path)), Memory(OLD_IMAGES))
            assert node.holds()
            if name == FIRST_PACK:
                # It was known before anything else was read.
                assert (update.way.way, update.bytes_total) == ("full", len(CHAIN.new.pack))
                assert update.bytes_needed == update.bytes_read == update.bytes_total
            with pytest.raises(errors.ReleaseDigestError):
                node.install(Directory(str(tmp_path)), Memory(OLD_IMAGES), may_fall_back=False)
    assert seen.unverified(named()) == 0


def test_a_kill_costs_none_of_the_first_pack(www: Path, node: Node):
    """It is in the runtime directory, and whoever goes on has each frame of it that came."""
    frames = delta.verified(
        CHAIN.between.deltas["from-1.0.idx"], index.Index(CHAIN.between.idx), CHAIN.first, "from-1.0.idx"
    )
    limit = frames.offsets[2]
    cut = Hostile(hostile.cut(limit), hostile.answers(500), folder=www, about="from-1.0.pack")
    with cut as server, pytest.raises(failures.FetchError):
        node.install(Network([server.url], {**PATIENCE, "deadline": 2}), Memory(OLD_IMAGES))
    with Hostile(honest, folder=www) as server:
        update = node.install(Network([server.url], PATIENCE), Memory(OLD_IMAGES))
        assert node.holds()
        sizes = asked(server)
    assert sizes["from-1.0.pack"] == CHAIN.first.pack.size - limit
    del sizes["release.json"]
    assert update.way.bytes == sum(sizes.values())


def test_a_file_in_the_runtime_directory_may_hold_anything(www: Path, node: Node):
    node.runtime.mkdir()
    (node.runtime / "fetched-ahead").write_bytes(DICE.randbytes(5_000_000))
    node.install(Far(str(www)), Memory(OLD_IMAGES))
    assert node.holds()
    assert (node.runtime / "fetched-ahead").stat().st_size == CHAIN.first.pack.size


def test_where_the_first_pack_can_not_be_kept_the_full_one_is_read(
    www: Path, node: Node, caplog: pytest.LogCaptureFixture
):
    node.runtime.mkdir()
    (node.runtime / "fetched-ahead").mkdir()
    with ReleaseImage(Directory(str(www)), "1.2", RELEASE, "0" * 64, ["boot.img", "root.img"]) as update:
        [link] = update.links(BOOTED, None)
        assert not update.take_delta(link, Memory(OLD_IMAGES), str(node.runtime), may_fall_back=True)
        assert update.way.way == "full"
    assert "the delta from 1.0 is not used" in caplog.text


def found(
    place: Place,
    folder: str = "1.2",
    release: Release = RELEASE,
    booted: Installed | None = BOOTED,
    record: SlotRecord | None = None,
) -> tuple[Link, ...]:
    return Links(place).to(folder, release, booted, record)


def test_a_chain_is_found_by_what_the_new_release_says_of_the_old_one(
    www: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = Directory(str(www))
    chained = found(place)
    assert [(link.delta, link.seed) for link in chained] == [(CHAIN.second, CHAIN.first)]
    record = SlotRecord(
        Content.CONFIRMED,
        images={image.role: ImageRecord(image.size, image.size, image.digest) for image in CHAIN.first.images},
    )
    assert found(place, booted=None, record=record) == chained
    # What the slot holds leads there directly, or nothing is known of it, or the place has one release only.
    between = Installed("1.1", 2, 0, CHAIN.second.sha256 or "", (), "aa")
    assert found(place, booted=between) == (Link(CHAIN.second),)
    assert found(place, booted=None) == ()
    assert found(place, booted=BOOTED._replace(sha256="0" * 64)) == ()
    assert found(Directory(str(www / "1.2")), folder="") == ()
    # Neither a release that somebody put there, nor one that is not the next one.
    other = RELEASE._replace(deltas=(CHAIN.second._replace(sha256="0" * 64),))
    assert found(place, release=other) == ()
    assert found(place, booted=BOOTED._replace(release_index=2)) == ()
    archive = RELEASE._replace(deltas=(CHAIN.second._replace(sha256=None, release_index=None),))
    assert found(place, release=archive) == ()
    monkeypatch.setattr(chain, "AHEAD_BYTES_MAX", CHAIN.first.pack.size - 1)
    assert found(place) == ()


def test_only_a_few_releases_are_looked_at(www: Path):
    many = tuple(
        CHAIN.second._replace(version=f"0.{number}", release_index=2, sha256=f"{number:064}") for number in range(9)
    )
    with Hostile(honest, folder=www) as server:
        place = Network([server.url], PATIENCE)
        ours, release = Links(place), RELEASE._replace(deltas=(*many, CHAIN.second))
        assert [ours.to("1.2", release, BOOTED, None) for _ in range(3)] == [(), (), ()]
        place.close()
        assert len(server.asked) == 4


def long_page(reply: hostile.Reply, wanted: hostile.Asked) -> None:
    reply.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))


@pytest.mark.parametrize(
    "behaviour",
    [
        long_page,
        hostile.answers(302, Location="ftp://127.0.0.1/"),
        hostile.answers(404),
        hostile.answers(503),
        hostile.mute,
    ],
    ids=["long", "elsewhere", "gone", "busy", "mute"],
)
def test_whoever_does_not_deliver_what_is_optional_is_none_the_worse_for_it(
    www: Path, node: Node, monkeypatch: pytest.MonkeyPatch, behaviour: hostile.Behaviour
):
    """The installation goes on from the same mirror, and whatever is asked for in vain is so for a short time, once."""
    monkeypatch.setattr(network, "_LOOK_S", 1)
    with Hostile(behaviour, folder=www, about="1.1/release.json") as server:
        patience = {**PATIENCE, "backoff": 1000}
        node.install(Network([server.url], patience), Memory(OLD_IMAGES), is_taken=False)
        assert node.holds()
        assert asked(server)["full.pack"] == len(CHAIN.new.pack)
        place = Network([server.url], patience)
        ours = Links(place)
        other = RELEASE._replace(deltas=(CHAIN.second._replace(sha256="1" * 64),))
        before = len(server.asked)
        assert [ours.to("1.2", release, BOOTED, None) for release in (RELEASE, other, RELEASE)] == [(), (), ()]
        assert len(server.asked) - before <= 2
        place.close()


def test_where_there_is_no_room_the_full_pack_is_read_and_the_room_is_left(
    www: Path, node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ahead, "ROOM_LEFT_BYTES", 1 << 60)
    with ReleaseImage(Directory(str(www)), "1.2", RELEASE, "0" * 64, ["boot.img", "root.img"]) as update:
        [link] = update.links(BOOTED, None)
        assert not update.take_delta(link, Memory(OLD_IMAGES), str(node.runtime), may_fall_back=False)
    assert list(node.runtime.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOMEM])
def test_what_can_not_be_written_there_is_left_and_takes_no_room(
    www: Path, node: Node, monkeypatch: pytest.MonkeyPatch, number: int
):
    pwrite = os.pwrite

    def fails(descriptor: int, data: bytes, offset: int) -> int:
        if offset and os.readlink(f"/proc/self/fd/{descriptor}").endswith("fetched-ahead"):
            raise OSError(number, os.strerror(number))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", fails)
    update = node.install(Directory(str(www)), Memory(OLD_IMAGES))
    assert node.holds()
    assert update.way.way == "full"
    assert list(node.runtime.iterdir()) == []


def test_what_a_builder_makes_leads_on_as_well(tmp_path: Path):
    for number, images in enumerate(CHAIN.images):
        for role, content in images.items():
            (tmp_path / f"{role}.img").write_bytes(content)
        olds = (str(tmp_path / f"1.{number - 1}"),) if number else ()
        plan = build.Plan(output=str(tmp_path), release_index=number + 1, version=f"1.{number}", olds=olds, level=1)
        plan = plan._replace(style="none", threads=2, any_content=True)
        build.build([str(tmp_path / "boot.img"), str(tmp_path / "root.img")], plan)
    content = (tmp_path / "1.2" / "release.json").read_bytes()
    old = hashlib.sha256((tmp_path / "1.0" / "release.json").read_bytes()).hexdigest()
    node = Node(tmp_path / "run", description.parse(content), BOOTED._replace(sha256=old))
    update = node.install(Far(str(tmp_path)), Memory(OLD_IMAGES))
    assert node.holds()
    assert (update.way.version, update.way.through, update.remarks) == ("1.0", "1.1", ())
