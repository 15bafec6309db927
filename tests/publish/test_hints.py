"""What `release build --from` says of a delta that is larger than it need be, with real file systems."""

import os
import random
import re
import shutil
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from manageboot.disk.digest import WINDOW_BYTES
from manageboot.publish import build, content
from manageboot.publish.build import Plan
from manageboot.publish.ext4 import Ext4
from manageboot.publish.spending import Spending
from manageboot.release import delta, description, index
from manageboot.release.layout import BLOCK_BYTES

UUIDS = ("11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555")
WORDS = [word * 3 for word in re.findall(r"\w+", Path(__file__).read_text())]


def program(seed: int, size: int) -> bytes:
    """Return what can be compressed, and is alike in no two places."""
    dice = random.Random(seed)
    return " ".join(dice.choice(WORDS) for _ in range(size // 10)).encode()[:size]


def packed(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(directory: Path, count: int) -> Path:
    """Make the content of a root file system: some folders, programs and a kernel."""
    text = program(0, 1 << 20)
    for number in range(count):
        file = directory / f"usr/lib/folder{number % 7}/program{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text[number * 500 :][: 500 + number % 3000])
    (directory / "boot").mkdir()
    (directory / "boot/vmlinuz-6").write_bytes(packed(1, 900_000))
    for path in directory.rglob("*"):
        # Reading a file changes no atime that lies ahead.
        os.utime(path, (2_000_000_000, 1_600_000_000))
    return directory


def ext4(image: Path, content: Path, *, block: int = 4096, features: str = "metadata_csum", size: str = "24m") -> Path:
    options = ["-b", str(block), "-U", UUIDS[0], "-E", f"hash_seed={UUIDS[0]}", "-O", features]
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1700000000", "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", content, image, size], check=True, env=environment
    )
    return image


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The content of an old release."""
    return tree(tmp_path / "tree", 100)


@pytest.fixture(scope="module")
def inodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the image of an old release in which inodes are much of it."""
    directory = tmp_path_factory.mktemp("inodes")
    return ext4(directory / "old.img", tree(directory / "tree", 1500))


def hints(directory: Path, old: Path, new: Path) -> list[str]:
    """Build both releases, and return what is said of the delta behind its size."""
    boot = directory / "boot.img"
    boot.write_bytes(b"\x12boot" * 3000)
    for number, root in enumerate((old, new), 1):
        olds = (str(directory / "1"),) if number == 2 else ()
        plan = Plan(str(directory), number, version=str(number), level=3, threads=2, style="none", olds=olds)
        said = build.build((str(boot), str(root)), plan).splitlines()
    assert re.match(r"from 1: \d+ bytes, [\d.]+ % of full.pack", said[1])
    return said[2:]


def both(directory: Path, content: Path, *, block: int = 4096) -> list[str]:
    """Return the hints for a file system, and for one that was built of what is now in the same folder."""
    return hints(directory, directory / "old.img", ext4(directory / "new.img", content, block=block))


@pytest.mark.parametrize("block", [1024, 4096])
def test_a_kernel_that_is_compressed_is_named_with_what_it_costs(tmp_path: Path, old: Path, block: int):
    ext4(tmp_path / "old.img", old, block=block)
    (old / "boot/vmlinuz-6").write_bytes(packed(2, 900_000))
    [hint] = both(tmp_path, old, block=block)
    found = re.fullmatch(
        r"from 1: (\d+) % of that are for files of root whose new data seems to be compressed: /boot/vmlinuz-6", hint
    )
    assert found
    assert int(found[1]) >= 98


def test_a_program_that_changed_needs_no_hint(tmp_path: Path, old: Path):
    ext4(tmp_path / "old.img", old)
    (old / "boot/program").write_bytes(program(-1, 900_000))
    assert both(tmp_path, old) == []


def test_many_compressed_files_are_one_hint(tmp_path: Path, old: Path):
    # 6,000 bytes and the zeros behind them can be compressed, the bytes alone can't.
    sizes = [6000] * 40 + [50_000]
    for number, size in enumerate(sizes):
        (old / f"boot/module{number}.ko.xz").write_bytes(packed(10 + number, size))
    ext4(tmp_path / "old.img", old)
    for number, size in enumerate(sizes):
        (old / f"boot/module{number}.ko.xz").write_bytes(packed(90 + number, size))
    [hint] = both(tmp_path, old)
    assert hint.endswith(
        " are for files of root whose new data seems to be compressed: /boot/module40.ko.xz and 40 more"
    )


def test_text_beside_compressed_files_is_not_counted(tmp_path: Path, old: Path):
    for seed, image in enumerate(("old.img", "new.img")):
        for number in range(60):
            (old / f"boot/z{number:02}a").write_bytes(packed(5000 + 1000 * seed + number, 3072))
            (old / f"boot/z{number:02}b").write_bytes(b"%d-%d " % (seed, number) * 200)
        ext4(tmp_path / image, old, block=1024)
    [hint] = hints(tmp_path, tmp_path / "old.img", tmp_path / "new.img")
    assert re.search(r": /boot/z\d\da and 59 more$", hint)


def test_a_name_is_one_line(tmp_path: Path, old: Path):
    name = old / "boot/x\nfrom 9: nothing\x1b[2J\udc80"
    for seed, image in enumerate(("old.img", "new.img")):
        name.write_bytes(packed(70 + seed, 100_000))
        ext4(tmp_path / image, old)
    [hint] = hints(tmp_path, tmp_path / "old.img", tmp_path / "new.img")
    assert hint.endswith(r": /boot/x\x0afrom 9: nothing\x1b[2J\x80")


def changed(directory: Path, image: Path, *commands: str) -> Path:
    """Return a copy of an image that debugfs has changed."""
    copy = directory / "changed.img"
    shutil.copyfile(image, copy)
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["debugfs", "-w", "-f", "-", copy], input=text.encode(), check=True, capture_output=True)
    return copy


def names(count: int) -> list[str]:
    return [f"/usr/lib/folder{number % 7}/program{number}" for number in range(count)]


@pytest.mark.parametrize("time", ["mtime", "ctime", "crtime"])
def test_the_time_is_told_that_most_files_have_anew(tmp_path: Path, inodes: Path, time: str):
    dice = random.Random("times")
    commands = [f"sif {name} {time} {dice.randrange(1 << 30)}" for name in names(1400)]
    new = changed(tmp_path, inodes, *commands, f"sif {names(1)[0]} atime 1234567")
    [hint] = hints(tmp_path, inodes, new)
    assert re.match(r"from 1: \d+ % of that are for the inodes of root: ", hint)
    assert hint.endswith(f": 1400 of 1501 files that did not change have another {time}")


def test_two_times_are_told_together(tmp_path: Path, inodes: Path):
    dice = random.Random("times")
    commands = [f"sif {name} mtime {dice.randrange(1 << 30)}" for name in names(1300)]
    commands += [f"sif {name} ctime {dice.randrange(1 << 30)}" for name in names(1500)[300:]]
    [hint] = hints(tmp_path, inodes, changed(tmp_path, inodes, *commands))
    assert hint.endswith(": 1000 of 1501 files that did not change have another ctime and mtime")


def test_some_other_times_are_an_update(tmp_path: Path, inodes: Path):
    dice = random.Random("times")
    new = changed(tmp_path, inodes, *(f"sif {name} mtime {dice.randrange(1 << 40)}" for name in names(700)))
    assert hints(tmp_path, inodes, new) == []


def test_files_that_exchanged_their_data_did_change(tmp_path: Path):
    for image in ("old.img", "new.img"):
        content = tmp_path / image.removesuffix(".img")
        for number in range(1500):
            # Each has what another one had.
            text = program(number if image == "old.img" else number ^ 1, 600)
            file = content / f"folder{number % 7}/file{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
        ext4(tmp_path / image, content)
    dice = random.Random("times")
    commands = [f"sif /folder{number % 7}/file{number} mtime {dice.randrange(1 << 30)}" for number in range(1500)]
    assert hints(tmp_path, tmp_path / "old.img", changed(tmp_path, tmp_path / "new.img", *commands)) == []


def test_another_uuid_is_told(tmp_path: Path, inodes: Path):
    new = Path(shutil.copyfile(inodes, tmp_path / "new.img"))
    subprocess.run(["tune2fs", "-f", "-U", UUIDS[1], new], check=True, capture_output=True)
    [hint] = hints(tmp_path, inodes, new)
    assert hint.endswith(
        " are for the inodes of root: the UUID of the file system is another one, and so are their checksums"
    )


def test_another_uuid_is_nothing_where_checksums_have_a_seed_of_their_own(tmp_path: Path, inodes: Path):
    image = ext4(tmp_path / "old.img", inodes.parent / "tree", features="metadata_csum,metadata_csum_seed")
    dice = random.Random("modes")
    modes = [f"sif {name} mode 0{0o100600 + dice.randrange(64):o}" for name in names(1500)]
    new = changed(tmp_path, image, *modes)
    subprocess.run(["tune2fs", "-f", "-U", UUIDS[1], new], check=True, capture_output=True)
    assert hints(tmp_path, image, new) == []


def test_what_a_frame_costs_goes_to_what_made_it_costly(tmp_path: Path):
    # Half of a window is as it was but for a byte of each block, the other half is new.
    dice, blocks = random.Random("halves"), WINDOW_BYTES // BLOCK_BYTES
    before = dice.randbytes(WINDOW_BYTES)
    after = bytearray(before[: WINDOW_BYTES // 2] + dice.randbytes(WINDOW_BYTES // 2))
    for block in range(blocks // 2):
        after[block * BLOCK_BYTES + 100] ^= 1
    for name, image in (("old.img", before), ("new.img", after)):
        (tmp_path / name).write_bytes(b"\x02" + image[1:])
    hints(tmp_path, tmp_path / "old.img", tmp_path / "new.img")
    release = description.parse((tmp_path / "2/release.json").read_bytes())
    idx = index.verified((tmp_path / "2/release.idx").read_bytes(), release)
    [one] = release.deltas
    found = delta.verified((tmp_path / "2" / one.idx_name).read_bytes(), idx, one, one.idx_name)
    old = index.Index((tmp_path / "1/release.idx").read_bytes(), "old")
    olds = content.from_pack(old, str(tmp_path / "1/full.pack"), str(tmp_path), lambda _: None)
    news = content.from_pack(idx, str(tmp_path / "2/full.pack"), str(tmp_path), lambda _: None)
    spent = Spending(found, 1, olds, news[1], lambda _: None)
    half = WINDOW_BYTES // 2
    assert spent.of([(0, half)]) < 0.02 * one.pack.size
    assert spent.of([(half, half)]) > 0.98 * one.pack.size
    # Of a part of a block, its part.
    assert spent.of([(half, 1024)]) == pytest.approx(spent.of([(half, BLOCK_BYTES)]) / 4)
    assert spent.of([(0, WINDOW_BYTES)]) == pytest.approx(one.pack.size)


def test_a_compressed_file_system_is_told_as_a_whole(tmp_path: Path):
    for seed, name in enumerate(("old.img", "new.img")):
        (tmp_path / name).write_bytes(b"hsqs" + packed(seed, 700_000))
    [hint] = hints(tmp_path, tmp_path / "old.img", tmp_path / "new.img")
    assert hint == "from 1: 100 % of that are for root, whose new data seems to be compressed"


@pytest.mark.parametrize(
    ("block", "features"),
    [(1024, "metadata_csum"), (4096, "metadata_csum"), (1024, "bigalloc"), (4096, "^64bit,^flex_bg")],
)
def test_files_are_found_where_e2fsprogs_has_put_them(tmp_path: Path, old: Path, block: int, features: str):
    # A large file with a hole between each two blocks has a tree of extents.
    with (old / "boot/holes").open("wb") as file:
        for number in range(0, 1200, 2):
            file.seek(number * 4096)
            file.write(packed(number, 4096))
    image = memoryview(ext4(tmp_path / "old.img", old, block=block, features=features, size="64m").read_bytes())
    files = Ext4(image).files
    assert files.keys() == {f"/{path.relative_to(old)}" for path in old.rglob("*") if path.is_file()}
    for path, file in files.items():
        content = (old / path[1:]).read_bytes()
        assert file.size == len(content)
        if path == "/boot/holes" and features != "bigalloc":
            content = b"".join(packed(at, 4096) for at in range(0, 1200, 2))
            assert len(file.extents) >= 600
        if path != "/boot/holes" or features != "bigalloc":
            assert b"".join(image[begin : begin + length] for begin, length in file.extents) == content


def test_no_damaged_file_system_stops_a_build(tmp_path: Path, old: Path):
    image = ext4(tmp_path / "old.img", old).read_bytes()
    dice, understood = random.Random("damage"), 0
    for round_ in range(60):
        damaged = bytearray(image)
        # The superblock, the groups and the first inodes are where the most is said.
        for _ in range(dice.choice([1, 8, 200])):
            damaged[dice.randrange(1024, 1 << dice.randrange(11, 22))] = dice.randrange(256)
        try:
            system = Ext4(memoryview(damaged))
        except ValueError:
            continue
        understood += 1
        extents = [one for file in system.files.values() for one in file.extents]
        assert all(0 <= begin < begin + length <= len(damaged) for begin, length in extents), round_
        assert all(begin + length <= len(damaged) for begin, length in system.inode_ranges), round_
    assert understood > 20


def test_a_superblock_that_says_too_much_is_refused_at_once(tmp_path: Path, old: Path):
    image = ext4(tmp_path / "old.img", old).read_bytes()
    group = 4096
    for at, value in [(1024 + 7, 0xFF), (1024 + 0x23, 0xFF), (1024 + 0x2B, 0x80), (group + 43, 0x80), (1024 + 3, 0x80)]:
        damaged = bytearray(image)
        damaged[at] = value
        if damaged == image:
            continue
        started = time.process_time()
        with suppress(ValueError):
            Ext4(memoryview(damaged))
        assert time.process_time() - started < 20


def test_a_tree_with_the_same_node_everywhere_ends(tmp_path: Path, old: Path):
    with (old / "boot/holes").open("wb") as file:
        for number in range(0, 1200, 2):
            file.seek(number * 4096)
            file.write(packed(number, 4096))
    image = bytearray(ext4(tmp_path / "old.img", old).read_bytes())
    # The root of the tree, in the inode, and its leaf, in a block.
    [root] = [at for at in range(40, len(image), 256) if image[at : at + 8] == b"\x0a\xf3\x02\x00\x04\x00\x01\x00"]
    leaf = int.from_bytes(image[root + 16 : root + 20], "little")
    # Four levels of nodes, in the last blocks of the image; each entry of a node leads to the same one below.
    for depth, block, below in ((1, -3, leaf), (2, -2, len(image) // 4096 - 3), (3, -1, len(image) // 4096 - 2)):
        at = len(image) + block * 4096
        assert not image[at : at + 4096].strip(b"\0")
        head = struct.pack("<HHHHL", 0xF30A, 340, 340, depth, 0)
        image[at : at + 4096] = (head + struct.pack("<LLHH", 0, below, 0, 0) * 340).ljust(4096, b"\0")
    image[root + 6] = 4
    image[root + 16 : root + 20] = (len(image) // 4096 - 1).to_bytes(4, "little")
    extents = Ext4(memoryview(image)).files["/boot/holes"].extents
    assert 0 < len(extents) <= 680
