"""What `release build --from` says of a delta that is larger than it need be, with real file systems."""

import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from manageboot.publish import build
from manageboot.publish.build import Plan
from manageboot.publish.ext4 import Ext4

UUIDS = ("11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555")
WORDS = [word * 3 for word in re.findall(r"\w+", Path(__file__).read_text())]


def program(seed: int, size: int) -> bytes:
    """Return what can be compressed, and is alike in no two places."""
    dice = random.Random(seed)
    return " ".join(dice.choice(WORDS) for _ in range(size // 10)).encode()[:size]


def packed(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(directory: Path) -> Path:
    """Make the content of a root file system: some folders, programs and a kernel."""
    text = program(0, 1 << 20)
    for number in range(1500):
        file = directory / f"usr/lib/folder{number % 7}/program{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text[number * 500 :][: 500 + number % 3000])
    (directory / "boot").mkdir()
    (directory / "boot/vmlinuz-6").write_bytes(packed(1, 900_000))
    for path in directory.rglob("*"):
        # Reading a file changes no atime that lies ahead.
        os.utime(path, (2_000_000_000, 1_600_000_000))
    return directory


def ext4(image: Path, content: Path, *, block: int = 4096, uuid: str = UUIDS[0]) -> Path:
    options = ["-b", str(block), "-U", uuid, "-E", f"hash_seed={UUIDS[0]}", "-O", "metadata_csum"]
    environment = {**os.environ, "E2FSPROGS_FAKE_TIME": "1700000000", "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", *options, "-d", content, image, "24m"], check=True, env=environment
    )
    return image


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The content of an old release."""
    return tree(tmp_path / "tree")


def hints(directory: Path, old: Path, new: Path) -> list[str]:
    """Build both releases, and return what is said of the delta behind its size."""
    boot = directory / "boot.img"
    boot.write_bytes(b"\x12boot" * 3000)
    for index, root in enumerate((old, new), 1):
        olds = (str(directory / "1"),) if index == 2 else ()
        plan = Plan(str(directory), index, version=str(index), level=3, threads=2, style="none", olds=olds)
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
        r"from 1: (\d+) bytes of that, (\d+) %, are for files of root that seem to be compressed: /boot/vmlinuz-6", hint
    )
    assert found
    assert 850_000 < int(found[1]) < 950_000
    assert int(found[2]) > 90


def test_a_program_that_changed_needs_no_hint(tmp_path: Path, old: Path):
    ext4(tmp_path / "old.img", old)
    (old / "boot/program").write_bytes(program(-1, 900_000))
    assert both(tmp_path, old) == []


def test_many_compressed_files_are_one_hint(tmp_path: Path, old: Path):
    for number in range(9):
        (old / f"boot/module{number}.ko.xz").write_bytes(packed(10 + number, 50_000 + 10_000 * number))
    ext4(tmp_path / "old.img", old)
    for number in range(9):
        (old / f"boot/module{number}.ko.xz").write_bytes(packed(30 + number, 50_000 + 10_000 * number))
    [hint] = both(tmp_path, old)
    assert hint.endswith(" are for files of root that seem to be compressed: /boot/module8.ko.xz and 8 more")


def test_other_times_are_told(tmp_path: Path, old: Path):
    ext4(tmp_path / "old.img", old)
    for path in old.rglob("program*"):
        os.utime(path, (1_700_000_000, random.Random(path.name).randrange(1 << 30)))
    [hint] = both(tmp_path, old)
    found = re.fullmatch(
        r"from 1: \d+ bytes of that, \d+ %, are for the inodes of root:"
        r" (\d+) of 1501 files that are as they were have another .*\bmtime",
        hint,
    )
    assert found
    assert int(found[1]) >= 1490


def test_some_other_times_are_an_update(tmp_path: Path, old: Path):
    image = ext4(tmp_path / "old.img", old)
    shutil.copyfile(image, tmp_path / "new.img")
    commands = [f"sif /usr/lib/folder{number % 7}/program{number} mtime 20240101" for number in range(500)]
    text = "".join(f"{command}\n" for command in commands)
    subprocess.run(["debugfs", "-w", "-f", "-", tmp_path / "new.img"], input=text.encode(), check=True)
    assert hints(tmp_path, image, tmp_path / "new.img") == []


def test_another_uuid_is_told(tmp_path: Path, old: Path):
    image = ext4(tmp_path / "old.img", old)
    shutil.copyfile(image, tmp_path / "new.img")
    subprocess.run(["tune2fs", "-f", "-U", UUIDS[1], tmp_path / "new.img"], check=True, capture_output=True)
    [hint] = hints(tmp_path, image, tmp_path / "new.img")
    assert " are for the inodes of root: the UUID of the file system is another one" in hint


def test_a_compressed_file_system_is_told_as_a_whole(tmp_path: Path):
    for seed, name in enumerate(("old.img", "new.img")):
        (tmp_path / name).write_bytes(b"hsqs" + packed(seed, 700_000))
    [hint] = hints(tmp_path, tmp_path / "old.img", tmp_path / "new.img")
    assert hint.endswith(" are for root, whose new data seems to be compressed")


@pytest.mark.parametrize("block", [1024, 4096])
def test_files_are_found_where_e2fsprogs_has_put_them(tmp_path: Path, old: Path, block: int):
    # A large file with a hole between each two blocks has a tree of extents.
    with (old / "boot/holes").open("wb") as file:
        for number in range(0, 1200, 2):
            file.seek(number * 4096)
            file.write(packed(number, 4096))
    image = ext4(tmp_path / "old.img", old, block=block)
    read = memoryview(image.read_bytes())
    system = Ext4(read)
    files, paths = {file.number: file for file in system.files()}, system.paths()
    assert {paths[number] for number in files} == {
        f"/{path.relative_to(old)}" for path in old.rglob("*") if path.is_file()
    }
    for number, file in files.items():
        content = (old / paths[number][1:]).read_bytes()
        assert file.size == len(content)
        if paths[number] == "/boot/holes":
            assert len(file.extents) >= 600
            content = b"".join(packed(at, 4096) for at in range(0, 1200, 2))
        assert b"".join(read[begin : begin + length] for begin, length in file.extents)[: len(content)] == content


def test_no_file_system_however_damaged_stops_a_build(tmp_path: Path, old: Path):
    image = ext4(tmp_path / "old.img", old).read_bytes()
    dice = random.Random("damage")
    for round_ in range(60):
        damaged = bytearray(image)
        # The superblock, the groups and the first inodes are where the most is said.
        for _ in range(dice.choice([1, 8, 200])):
            damaged[dice.randrange(1024, 1 << dice.randrange(11, 22))] = dice.randrange(256)
        try:
            system = Ext4(memoryview(damaged))
        except ValueError:
            continue
        for file in system.files():
            assert all(0 <= begin < begin + length <= len(damaged) for begin, length in file.extents), round_
        assert all(path.startswith("/") for path in system.paths().values())
