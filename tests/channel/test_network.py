"""Releases from a network: what comes is right, none of it twice, and a mirror that sent a wrong frame is left out."""

import hashlib
import random
from pathlib import Path

import pytest
import zstandard

from manageboot import errors
from manageboot.channel.directory import Directory
from manageboot.channel.network import Network
from manageboot.channel.source import ReleaseImage
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.fetch import failures
from manageboot.image.content import HEAD_BYTES
from manageboot.install.passive import PassiveSlot
from manageboot.install.transfer import Transfer
from manageboot.publish.cutting import Cutter
from manageboot.release import description, index, indexwriter
from manageboot.release.layout import BLOCK_BYTES, Frame, Window
from manageboot.report.inspection import inspect
from support import hostile
from support.hostile import Behaviour, Hostile, answers, honest
from support.memorydisk import Disk, blank_disks, writers_of
from support.releases import Small, file_of, small_release

pytestmark = pytest.mark.devices

PATIENCE = {"stall": 30, "backoff": 0.001, "deadline": 600}
LINES = "".join(f"{key} = {value}\n" for key, value in PATIENCE.items())
PACK = "full.pack"
AHEAD = 64 * 1024
"""What may be in the pipe of the child, unread, when a connection breaks."""


def images() -> dict[str, bytes]:
    dice = random.Random(2)
    return {"boot": dice.randbytes(WINDOW_BYTES + 700), "root": dice.randbytes(5 * WINDOW_BYTES + 5)}


IMAGES = images()
RELEASE = small_release(IMAGES, version="1.1")
INDEX = index.Index(RELEASE.idx)
FRAME = max(frame.size for frame in INDEX.frames())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("www")
    RELEASE.write(directory / "1.1")
    return directory


def mirror(folder: Path, *script: Behaviour, about: str = PACK) -> Hostile:
    return Hostile(*script, folder=folder, about=about)


def bring(
    *mirrors: Hostile, release: Small = RELEASE, images: dict[str, bytes] = IMAGES, stall_s: float = 30
) -> Network:
    """Bring a release, whose release.json somebody vouches for, to disks in memory; return what was asked for it."""
    place = Network([one.url for one in mirrors], {**PATIENCE, "stall": stall_s})
    described = description.parse(release.description)
    disks = {f"{role}.img": Disk(len(image) + WINDOW_BYTES & -WINDOW_BYTES, b"\0") for role, image in images.items()}
    with ReleaseImage(place, "1.1", described, "0" * 64, list(disks)) as update:
        # An installation looks at the beginnings first.
        assert all(member.head for member in update.known)
        writers = writers_of(disks)
        Transfer(update, writers, skip_identical=False, verify=False).run(update.members(), lambda: None)
    for role, image in images.items():
        assert disks[f"{role}.img"].content.startswith(image)
    return place


def came(place: Network) -> int:
    return sum(traffic.bytes for traffic in place.traffic())


STALLS = (hostile.stall(1_500_000), hostile.mute, hostile.slower)
FAULTS = [
    (hostile.cut(0), 0),
    (hostile.cut(1_500_000), 0),
    pytest.param(STALLS[0], FRAME + AHEAD, marks=pytest.mark.long),
    pytest.param(hostile.mute, 0, marks=pytest.mark.long),
    pytest.param(hostile.slower, FRAME, marks=pytest.mark.long),
    pytest.param(hostile.no_ranges, 0, marks=pytest.mark.long),
    pytest.param(hostile.endless, 0, marks=pytest.mark.long),
    pytest.param(hostile.begins_early, 0, marks=pytest.mark.long),
    pytest.param(hostile.begins_late, 0, marks=pytest.mark.long),
    pytest.param(hostile.less, 0, marks=pytest.mark.long),
    pytest.param(hostile.does_not_say_which, 0, marks=pytest.mark.long),
    pytest.param(hostile.multipart, 0, marks=pytest.mark.long),
    pytest.param(hostile.says_too_much, 0, marks=pytest.mark.long),
    (hostile.other_release, FRAME),
    (hostile.wrong_bytes, FRAME + AHEAD),
    pytest.param(hostile.recoded, FRAME + AHEAD, marks=pytest.mark.long),
    pytest.param(hostile.portal, 0, marks=pytest.mark.long),
    pytest.param(hostile.rubbish, 0, marks=pytest.mark.long),
    pytest.param(hostile.endless_headers, 0, marks=pytest.mark.long),
    pytest.param(hostile.closes, 0, marks=pytest.mark.long),
    pytest.param(answers(302, Location="http://127.0.0.1:1/"), 0, marks=pytest.mark.long),
    pytest.param(answers(403), 0, marks=pytest.mark.long),
    pytest.param(answers(404), 0, marks=pytest.mark.long),
    pytest.param(answers(416), 0, marks=pytest.mark.long),
    pytest.param(answers(429, Retry_After=3600), 0, marks=pytest.mark.long),
    pytest.param(answers(500), 0, marks=pytest.mark.long),
]
"""What a mirror does to a pack, and how much may come in vain: never more than a frame, and what is in the pipe."""


@pytest.mark.parametrize(("fault", "wasted"), FAULTS, ids=lambda value: getattr(value, "__qualname__", None))
def test_whatever_a_mirror_does_to_the_pack_the_other_one_brings_the_rest(folder: Path, fault: Behaviour, wasted: int):
    # The heads of both images come as they should, then the fault begins.
    with mirror(folder, honest, honest, fault) as first, mirror(folder, honest) as second:
        # Who stalls is waited for no longer than that; on a busy machine, an honest one may look so.
        place = bring(first, second, stall_s=1 if fault in STALLS else 30)
        size = len(RELEASE.pack) + len(RELEASE.idx)
        assert size <= came(place) <= size + wasted


@pytest.mark.long
def test_a_large_release_costs_its_size_and_a_frame_for_each_fault(tmp_path: Path):
    """100 MB; the fault is that of the mirror which is asked first, from the third request on."""
    dice = random.Random(3)
    images = {"boot": dice.randbytes(4 * WINDOW_BYTES), "root": dice.randbytes(96 * WINDOW_BYTES)}
    release = small_release(images, version="1.1")
    release.write(tmp_path / "1.1")
    size, frame = len(release.pack) + len(release.idx), len(release.pack) // 100
    for fault in (getattr(case, "values", case)[0] for case in FAULTS):
        with mirror(tmp_path, honest, honest, fault) as first, mirror(tmp_path, honest) as second:
            place = bring(first, second, release=release, images=images, stall_s=1 if fault in STALLS else 30)
        wasted = came(place) - size
        said = place.traffic()[0].code
        print(f"{getattr(fault, '__qualname__', fault):<32} {wasted:>8} bytes of {size} in vain, {said}")
        assert 0 <= wasted <= frame + AHEAD


def test_few_requests_bring_a_release(folder: Path):
    """One for the index, one for the beginning of each image, and one for what lies between those beginnings."""
    with mirror(folder, honest) as server:
        bring(server)
        ranges = [(asked.path.rpartition("/")[2], asked.start, asked.stop) for asked in server.asked]
        assert len(server.connections) == 1
    boot, root = (INDEX.offsets[number] for number in (1, 2))
    end = len(RELEASE.pack)
    assert ranges == [
        ("release.idx", 0, len(RELEASE.idx)),
        (PACK, 0, boot),
        (PACK, root, INDEX.offsets[3]),
        (PACK, boot, root),
        (PACK, INDEX.offsets[3], end),
    ]


@pytest.mark.parametrize("about", ["release.idx", PACK])
def test_wrong_bytes_of_the_only_mirror_are_a_lie(folder: Path, about: str):
    with (
        mirror(folder, hostile.wrong_bytes, about=about) as server,
        pytest.raises(failures.FetchLiedError, match=r"its SHA-256 is \w+, and \w+ was published"),
    ):
        bring(server)


def test_a_wrong_frame_in_the_middle_costs_that_frame_and_no_restart(folder: Path):
    """The next mirror goes on at the frame that was wrong; those before it are not asked for again."""
    bad = INDEX.offsets[4]

    def spoils(reply: hostile.Reply, asked: hostile.Asked) -> None:
        content = bytearray(asked.content)
        content[bad + 100] ^= 1
        honest(reply, asked._replace(content=bytes(content)))

    with mirror(folder, spoils) as first, mirror(folder, honest) as second:
        place = bring(first, second)
        assert [asked.start for asked in second.asked] == [bad]
        assert came(place) <= len(RELEASE.pack) + len(RELEASE.idx) + FRAME + AHEAD
        assert [traffic.is_out for traffic in place.traffic()] == [True, False]


def test_a_release_on_a_server_is_looked_at(folder: Path):
    with mirror(folder, honest) as server:
        shown = inspect(None, [f"{server.url}1.1/"])
    assert shown == inspect(None, [str(folder / "1.1")])
    assert shown["sha256"] == hashlib.sha256(RELEASE.description).hexdigest()


class Slot:
    """Disks in memory, which an installation writes, and the next one goes on with."""

    def __init__(self) -> None:
        self.disks = blank_disks(IMAGES, 8 << 20)

    def install(
        self, folder: Path, release: Small, *, limit: int | None = None, runtime: Path | None = None
    ) -> list[int]:
        """Install a release, and return which frames were asked for; a limit of bytes ends the line for good."""
        known = index.Index(release.idx)

        def ends(reply: hostile.Reply, asked: hostile.Asked) -> None:
            assert limit is not None
            if asked.start >= limit:
                answers(404)(reply, asked)
                return
            reply.part(asked)
            reply.raw(asked.content[asked.start : min(asked.stop, limit)])
            reply.keep = asked.stop <= limit

        with mirror(folder, honest if limit is None else ends) as server:
            place = Network([server.url], PATIENCE)
            described = description.parse(release.description)
            names = {role: f"{role}.img" for role in IMAGES}
            with ReleaseImage(place, "1.1", described, "0" * 64, list(names.values())) as update:
                writers = writers_of(self.disks, header_last="boot")
                update.read_also(PassiveSlot(writers, "boot"))
                update.resume(lambda _: None)
                if runtime is not None:
                    update.keep_in(str(runtime))
                assert all(member.head for member in update.known)
                transfer = Transfer(
                    update, {names[role]: writer for role, writer in writers.items()}, skip_identical=True, verify=False
                )
                if limit is None:
                    transfer.run(update.members(), lambda: None)
                    writers["boot"].write_header()
                else:
                    with pytest.raises(failures.FetchError):
                        transfer.run(update.members(), lambda: None)
        asked = [(one.start, one.stop) for one in server.asked if one.path.endswith(PACK)]
        return [
            number
            for start, stop in asked
            for number, at in enumerate(known.offsets)
            if start <= at < stop and (limit is None or at + known.frame(number).size <= limit)
        ]


def test_what_an_interrupted_installation_left_is_not_asked_for_again(folder: Path):
    """The header of boot comes last, so its window is fetched once more; nothing else is."""
    slot = Slot()
    first = slot.install(folder, RELEASE, limit=INDEX.offsets[5] + 10)
    assert sorted(first) == [0, 1, 2, 3, 4]
    assert sorted(slot.install(folder, RELEASE)) == [0, 5, 6, 7]
    for role, image in IMAGES.items():
        assert slot.disks[role].content.startswith(image)


def test_what_was_fetched_and_not_written_is_not_asked_for_again(folder: Path, tmp_path: Path):
    """That with the header is kept until the end, and taken for nothing that it is not."""
    slot = Slot()
    slot.install(folder, RELEASE, limit=INDEX.offsets[4] + 10, runtime=tmp_path)
    header = tmp_path / "fetched" / INDEX.frame(0).sha256.hex()
    assert header.read_bytes() == RELEASE.pack[: INDEX.offsets[1]]
    (tmp_path / "fetched/of-another-release").touch()
    assert sorted(slot.install(folder, RELEASE, limit=INDEX.offsets[5] + 10, runtime=tmp_path)) == [4]
    assert not (tmp_path / "fetched/of-another-release").exists()
    header.write_bytes(header.read_bytes()[:-1] + b"?")
    assert sorted(slot.install(folder, RELEASE, runtime=tmp_path)) == [0, 5, 6, 7]
    for role, image in IMAGES.items():
        assert slot.disks[role].content.startswith(image)


def test_what_differs_is_fetched_and_nothing_else(folder: Path):
    slot = Slot()
    slot.install(folder, RELEASE)
    slot.disks["root"].content[3 * WINDOW_BYTES + 17] ^= 1
    assert sorted(slot.install(folder, RELEASE)) == [0, 5]
    assert slot.disks["root"].content.startswith(IMAGES["root"])


def test_what_was_written_before_comes_from_the_device(tmp_path: Path):
    """Far behind, a window needs a frame once more, and half of the last one."""
    half = WINDOW_BYTES // 2
    image = IMAGES["root"]
    again = [(image[:half], image[half * 3 : half * 4]), (image[half:WINDOW_BYTES], image[:half])]
    repeated = image[: 5 * WINDOW_BYTES] + b"".join(b"".join(parts) for parts in again) + b"end"
    release = deduplicated({"boot": IMAGES["boot"], "root": repeated})
    release.write(tmp_path / "1.1")
    slot = Slot()
    asked = slot.install(tmp_path, release)
    assert len(asked) == len(set(asked)) == index.Index(release.idx).frame_count == 8
    assert slot.disks["root"].content.startswith(repeated)


class Far(Directory):
    """A directory that counts as a network."""

    is_remote = True


def test_the_beginning_of_an_image_may_need_what_another_image_has_later(tmp_path: Path):
    """It is looked at before anything is written, so nobody may wait for that."""
    later = IMAGES["root"][:WINDOW_BYTES]
    images = {"boot": IMAGES["boot"][:WINDOW_BYTES] + later, "root": later + b"end"}
    release = deduplicated(images)
    release.write(tmp_path / "1.1")
    slot = Slot()
    names = {role: f"{role}.img" for role in images}
    described = description.parse(release.description)
    with ReleaseImage(Far(str(tmp_path)), "1.1", described, "0" * 64, list(names.values())) as update:
        writers = writers_of(slot.disks)
        update.read_also(PassiveSlot(writers, "boot"))
        assert [member.head for member in update.known] == [content[:HEAD_BYTES] for content in images.values()]
        by_name = {names[role]: writer for role, writer in writers.items()}
        Transfer(update, by_name, skip_identical=False, verify=False).run(update.members(), lambda: None)
    for role, image in images.items():
        assert slot.disks[role].content.startswith(image)


def deduplicated(images: dict[str, bytes]) -> Small:
    """Make a release in which a window of data that the pack has takes it from there, as the builder does."""
    frames: list[Frame] = []
    rows, described, pack = [], [], b""
    cutter = Cutter()
    for role, content in images.items():
        digest, windows = ImageDigest(), []
        for offset in range(0, len(content), WINDOW_BYTES):
            window = bytearray(content[offset : offset + WINDOW_BYTES])
            sha256 = digest.add(offset, memoryview(window))
            assert sha256 is not None
            cut = cutter.cut(memoryview(window + bytes(-len(window) % BLOCK_BYTES)))
            if cut.data:
                stored = zstandard.ZstdCompressor().compress(cut.data)
                frames.append(Frame(hashlib.sha256(stored).digest(), len(stored), len(cut.data) // BLOCK_BYTES))
                pack += stored
            windows.append(Window(offset // WINDOW_BYTES, sha256, cut.operations))
        rows.append((role, len(content), windows))
        described.append(description.Image(role, len(content), digest.hexdigest(len(content))))
    idx = indexwriter.encode(rows, frames)
    release = description.parse(RELEASE.description)._replace(
        images=tuple(described), idx=file_of(idx), pack=file_of(pack)
    )
    return Small(description.encode(release), idx, pack)


@pytest.mark.parametrize("url", ["http://me:secret@host/r/", "http://host/r/?token=secret", "http:///"])
def test_what_is_no_url_of_a_directory(url: str):
    from manageboot.channel.places import named

    with pytest.raises(errors.UsageError):
        named(url, PATIENCE)
