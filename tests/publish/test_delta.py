"""What `release build --from` makes: the new images come out of the old ones and the pack, byte for byte."""

import hashlib
import json
import os
import random
import resource
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.channel import seed
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.publish import build, check, deltas, similar
from manageboot.publish.build import Plan
from manageboot.publish.checkrelease import check_release
from manageboot.publish.content import Content
from manageboot.publish.copies import OldBlocks
from manageboot.publish.similar import OldUnits, Wanted
from manageboot.release import delta, description, index
from manageboot.release.layout import BLOCK_BYTES, COPY, PATCH, REPLACE, ZERO

NOISE = random.Random("delta").randbytes(2 * WINDOW_BYTES + 5000)
OLD_ROOT = b"\x02" + NOISE[1:]
SHIFTED = NOISE[:400_000] + b"seven.." + NOISE[400_000:800_000]
"""Similar to the old data, and no block of it is equal after the first part."""
NEW_ROOT = (
    b"\x02"
    + NOISE[1 : 70 * BLOCK_BYTES]
    + SHIFTED
    + bytes(3 * WINDOW_BYTES)
    + NOISE[BLOCK_BYTES : 90 * BLOCK_BYTES]
    + b"\x03end"
)
BOOT = b"\x12boot" * 3000
NEW_BOOT = random.Random("boot").randbytes(9000)


def images_in(directory: Path, boot: bytes, root: bytes) -> tuple[str, str]:
    directory.mkdir(exist_ok=True)
    for name, content in (("boot.img", boot), ("root.img", root)):
        (directory / name).write_bytes(content)
    return str(directory / "boot.img"), str(directory / "root.img")


def made(output: Path, images: tuple[str, ...], version: str, release_index: int, **named: object) -> Path:
    plan = {"level": 3, "threads": 2, "style": "none", "output": str(output), **named}
    build.build(images, Plan(version=version, release_index=release_index, **plan))
    return output / version


@pytest.fixture
def www(tmp_path: Path) -> Path:
    """An old release."""
    made(tmp_path, images_in(tmp_path / "old", BOOT, OLD_ROOT), "1.0", 1)
    return tmp_path


@pytest.fixture
def new(tmp_path: Path) -> tuple[str, str]:
    return images_in(tmp_path / "new", NEW_BOOT, NEW_ROOT)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def delta_of(directory: Path) -> tuple[description.Delta, delta.DeltaIndex]:
    release = description.parse((directory / "release.json").read_bytes())
    idx = index.verified((directory / "release.idx").read_bytes(), release)
    [one] = release.deltas
    return one, delta.verified((directory / one.idx_name).read_bytes(), idx, one, one.idx_name)


def test_the_delta_is_small_and_proved(www: Path, new: tuple[str, str]):
    directory = made(www, new, "2.0", 2, olds=(str(www / "1.0"),))
    one, found = delta_of(directory)
    assert one.sha256 == hashlib.sha256((www / "1.0" / "release.json").read_bytes()).hexdigest()
    assert (one.version, one.release_index) == ("1.0", 1)
    assert one.images == description.parse((www / "1.0" / "release.json").read_bytes()).images
    codes = {op.code for at in range(2) for window in found.windows(at) for op in window.operations}
    assert codes == {ZERO, COPY, REPLACE, PATCH}
    # What is new is some 10 KiB; all else is copied, or shifted.
    assert one.pack.size < 20_000
    assert (directory / "full.pack").stat().st_size > 50 * one.pack.size
    check_release(str(directory), "none")


def test_threads_and_times_make_no_difference(www: Path, new: tuple[str, str]):
    results = []
    for threads in (1, 3):
        output = www / str(threads)
        output.mkdir()
        results.append(contents(made(output, new, "2.0", 2, olds=(str(www / "1.0"),), threads=threads)))
        for path in map(Path, new):
            os.utime(path, (1, 1))
    assert results[0] == results[1]


def test_an_archive_is_as_good_as_a_release(www: Path, new: tuple[str, str]):
    (www / "a").mkdir()
    from_release = contents(made(www, new, "2.0", 2, olds=(str(www / "1.0"),)))
    from_archive = contents(made(www / "a", new, "2.0", 2, olds=(str(www / "1.0" / "update-img.tar.zst"),)))
    for name in ("from-1.0.idx", "from-1.0.pack"):
        assert from_release[name] == from_archive[name]
    assert set(json.loads(from_archive["release.json"])["deltas"][0]) == {"version", "images"}


def test_the_same_images_need_no_pack(www: Path):
    images = (str(www / "old" / "boot.img"), str(www / "old" / "root.img"))
    directory = made(www, images, "1.1", 2, olds=(str(www / "1.0"),))
    assert (directory / "from-1.0.pack").stat().st_size == 0
    check_release(str(directory), "none")


def test_several_deltas_are_told_with_what_they_cost(www: Path, new: tuple[str, str]):
    made(www, images_in(www / "other", BOOT, random.Random(5).randbytes(3 * WINDOW_BYTES)), "0.9", 1)
    plan = Plan(
        output=str(www),
        release_index=2,
        version="2.0",
        olds=(str(www / "1.0"), str(www / "0.9")),
        level=3,
        threads=2,
        style="none",
    )
    first, second = (line for line in build.build(new, plan).splitlines()[1:] if "full.pack" in line)
    assert first.startswith("from 1.0: ")
    assert first.endswith(" % of full.pack")
    assert second.startswith("from 0.9: ")
    assert second.endswith("; that is hardly worth publishing")
    check_release(str(www / "2.0"), "none")
    [shown] = check.check(str(www / "2.0"), None, "none")["releases"]
    assert shown["version"] == "2.0"


def said(www: Path, images: tuple[str, str], version: str, release_index: int, *olds: str) -> list[str]:
    plan = Plan(output=str(www), release_index=release_index, version=version, level=1, threads=2, style="none")
    return build.build(images, plan._replace(olds=tuple(str(www / old) for old in olds))).splitlines()[1:]


def test_what_a_chain_costs_is_told_where_there_is_no_delta(
    www: Path, new: tuple[str, str], monkeypatch: pytest.MonkeyPatch
):
    said(www, new, "2.0", 2, "1.0")
    images = images_in(www / "third", NEW_BOOT + b"more", NEW_ROOT + b"more")
    between = description.parse((www / "2.0" / "release.json").read_bytes())
    [direct, through] = said(www, images, "3.0", 3, "2.0")
    release = description.parse((www / "3.0" / "release.json").read_bytes())
    [first], [second] = between.deltas, release.deltas
    cost = sum(one.size for one in (between.idx, first.idx, first.pack, second.idx, second.pack))
    assert direct.startswith("from 2.0: ")
    assert through.startswith(f"from 1.0 through 2.0: {cost} bytes, ")
    # Whoever has 1.0 does not need it then.
    assert [line.partition(":")[0] for line in said(www, images, "3.1", 3, "2.0", "1.0")] == ["from 2.0", "from 1.0"]
    monkeypatch.setattr(deltas, "_WORTH_PERCENT", 0)
    assert said(www, images, "3.2", 3, "2.0")[1].endswith("; a delta from 1.0 would cost less")
    monkeypatch.setattr(deltas, "AHEAD_BYTES_MAX", first.pack.size - 1)
    told = said(www, images, "3.3", 3, "2.0")[1]
    assert told.endswith("; nodes take full.pack instead, since from-1.0.pack is too large for a chain")


@pytest.mark.parametrize("name", ["from-1.0.idx", "from-1.0.pack"])
def test_a_delta_that_was_changed_is_refused(www: Path, new: tuple[str, str], name: str):
    directory = made(www, new, "2.0", 2, olds=(str(www / "1.0"),))
    path = directory / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.ReleaseDigestError, match=f"^cannot read .*{name}: its SHA-256 is "):
        check_release(str(directory), "none")


def test_a_delta_is_checked_as_far_as_the_old_release_is_there(www: Path, new: tuple[str, str]):
    directory = made(www, new, "2.0", 2, olds=(str(www / "1.0"),))
    (www / "1.0").rename(www / "gone")
    check_release(str(directory), "none")
    made(www, images_in(www / "other", BOOT, NOISE), "1.0", 1)
    with pytest.raises(errors.ReleaseFormatError, match=r"1\.0 has other images than it is from$"):
        check_release(str(directory), "none")


def test_an_old_release_that_is_bad_is_refused_and_nothing_is_left(www: Path, new: tuple[str, str]):
    pack = www / "1.0" / "full.pack"
    pack.write_bytes(pack.read_bytes()[:-1] + b"\0")
    for olds, kind in (
        ((str(www / "1.0"),), errors.ReleaseDigestError),
        ((str(www / "nothing"),), errors.InputError),
        ((str(www),), errors.InputError),
    ):
        with pytest.raises(kind):
            made(www, new, "2.0", 2, olds=olds)
    assert sorted(path.name for path in www.iterdir()) == ["1.0", "new", "old"]


def test_the_same_old_release_twice_is_refused(www: Path, new: tuple[str, str]):
    with pytest.raises(errors.UsageError, match=r"there is one from 1\.0 already$"):
        made(www, new, "2.0", 2, olds=(str(www / "1.0"),) * 2)


def content(directory: Path, data: bytes, role: str = "root") -> Content:
    found = Content(role, len(data), str(directory))
    for number in range(-(-len(data) // WINDOW_BYTES)):
        window = data[number * WINDOW_BYTES : (number + 1) * WINDOW_BYTES]
        if any(window):
            found.put(number, memoryview(window))
    return found


def test_a_disk_that_is_full_is_an_error(tmp_path: Path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    one = Content("root", WINDOW_BYTES, str(tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(errors.DeviceError, match=r"^cannot write the unpacked image of root: File too large"):
            one.put(0, memoryview(b"x" * WINDOW_BYTES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_blocks_are_found_wherever_they_are_and_runs_are_long(tmp_path: Path):
    old = [content(tmp_path, BOOT, "boot"), content(tmp_path, OLD_ROOT)]
    moved = content(tmp_path, OLD_ROOT[50 * BLOCK_BYTES : 300 * BLOCK_BYTES] + BOOT + OLD_ROOT[: 9 * BLOCK_BYTES])
    runs = list(OldBlocks(old).copies(moved))
    assert (runs[0].start, runs[0].blocks, runs[0].image, runs[0].first) == (0, 250, 1, 50)
    assert runs[1].image == 0
    for run in runs:
        assert moved.extent(run.start, run.blocks) == old[run.image].extent(run.first, run.blocks)


def test_a_little_that_is_alike_is_taken_only_near_what_is_read_anyway(tmp_path: Path):
    old = random.Random(4).randbytes(2 * WINDOW_BYTES)
    unit = 16 << 10
    # Most of unit 20, and 300 bytes of units 23 and 90, in each of which are some 9 anchors.
    data = old[20 * unit : 21 * unit] + b"".join(old[at * unit + 5000 : at * unit + 5300] for at in (23, 90))
    wanted = Wanted()
    wanted.add(data)
    extents = OldUnits([content(tmp_path, old)], wanted, map).similar(data, 512)
    assert [extent.first // 4 for extent in extents] == [20, 23]


def test_near_is_what_a_node_reads_in_one_request():
    assert (similar._NEAR_UNITS - 1) * similar.UNIT_BLOCKS * BLOCK_BYTES == seed._GAP_BYTES


def test_similar_data_is_found_though_it_was_shifted(tmp_path: Path):
    old = [content(tmp_path, BOOT, "boot"), content(tmp_path, OLD_ROOT)]
    data = SHIFTED[500_000:700_000]
    wanted = Wanted()
    wanted.add(data)
    extents = OldUnits(old, wanted, map).similar(data, 512)
    assert {extent.image for extent in extents} == {1}
    held = {block for extent in extents for block in range(extent.first, extent.first + extent.blocks)}
    assert set(range(500_000 // BLOCK_BYTES, 690_000 // BLOCK_BYTES)) <= held
    assert len(held) < 70
    assert OldUnits(old, wanted, map).similar(random.Random(1).randbytes(9000), 512) == ()
