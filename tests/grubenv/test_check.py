"""Check: every row of the damage table, in the bytes and in where they lie."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import grubenv
from grubenv import Damage, checking
from grubenv.checking import check
from grubenv.damage import TABLE
from grubenv.damage.diagnosis import diagnose
from grubenv.disk import extents, filesystem
from grubenv.repairing import repair
from tests.grubenv.blocks import FALLBACK, SAMPLE, STATE, block
from tests.grubenv.damages import EXAMPLES, Example
from tests.grubenv.disks import mounted
from tests.grubenv.support import fstest_cat, make_image, need, run_grub

PLACE_WORDS = {
    "sparse",
    "delayed-allocation",
    "unusual-extent",
    "not-in-place",
    "unreadable-file-system",
    "file-system",
    "device",
}


def words(path: Path) -> list[str]:
    return [damage.word for damage in check(path).damages]


def place_words(path: Path) -> list[str]:
    return [word for word in words(path) if word in PLACE_WORDS]


@pytest.mark.parametrize("one", EXAMPLES.values(), ids=EXAMPLES)
def test_each_damage_of_the_bytes_is_named(tmp_path: Path, one: Example) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(one.data)
    os.sync()
    report = check(path)
    assert not report.sound
    assert one.word in {damage.word for damage in report.damages}
    assert any(line.startswith(f"{path}: {one.word}: ") for line in report.lines())
    assert path.read_bytes() == one.data


def test_every_word_has_an_example() -> None:
    assert {one.word for one in EXAMPLES.values()} | PLACE_WORDS == TABLE.keys()


def test_the_table_in_the_documentation_is_the_table_of_the_program() -> None:
    text = (Path(__file__).parents[2] / "docs" / "grubenv.md").read_text()
    section = text.partition("## Check")[2].partition("## Repair")[0]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section, re.MULTILINE))
    assert list(rows) == list(TABLE)
    for word, kind in TABLE.items():
        grub, says, repair_ = rows[word].split(" | ")
        assert (grub, repair_) == kind
        said = {str(damage) for one in EXAMPLES.values() for damage in diagnose(one.data) if damage.word == word}
        assert word in PLACE_WORDS or says in said


@pytest.mark.grub
def test_what_grub_reads_out_of_each_damage(tmp_path: Path) -> None:
    """GRUB itself loads the state from the damaged bytes, or does not, as the examples say."""
    need("grub-emu", "mke2fs")
    names = list(EXAMPLES)
    script = []
    for index in range(len(names)):
        script += [
            "set boot_alternative=",
            "set boot_cycle=",
            f"load_env -f (hd0)/f{index} {' '.join(STATE)}",
            f'echo "[{index}:$boot_alternative:$boot_cycle]"',
        ]
    files = {f"f{index}": EXAMPLES[name].data for index, name in enumerate(names)}
    printed = run_grub(tmp_path, script, make_image(tmp_path, files))
    for index, name in enumerate(names):
        assert (f"[{index}:{STATE['boot_alternative']}:{STATE['boot_cycle']}]" in printed) is EXAMPLES[name].grub_reads


@pytest.mark.grub
def test_grub_cannot_save_to_what_check_names(tmp_path: Path) -> None:
    """Where the table says that save_env fails, GRUB's own says so, and after the repair it works."""
    need("grub-emu", "mke2fs")
    failing = {word for word, kind in TABLE.items() if "save_env fail" in kind.grub} - PLACE_WORDS
    names = [name for name, one in EXAMPLES.items() if one.word in failing and name != "twice the block"]
    files = {}
    for index, name in enumerate(names):
        files[f"bad{index}"] = EXAMPLES[name].data
        path = tmp_path / "grubenv"
        path.write_bytes(EXAMPLES[name].data)
        repair(path, FALLBACK)
        files[f"good{index}"] = path.read_bytes()
    script = ["set new=a_value_that_needs_room"]
    script += [f"save_env -f (hd0)/{name} new" for name in files]
    image = make_image(tmp_path, files)
    run_grub(tmp_path, script, image)
    for name in files:
        try:
            saved = b"\nnew=a_value_that_needs_room\n" in fstest_cat(image, name)
        except subprocess.CalledProcessError:  # grub-fstest cannot read a file of 0 bytes
            saved = False
        assert saved is name.startswith("good"), (name, names)


def test_names_that_the_boot_needs() -> None:
    data = EXAMPLES["beyond the first sector"].data
    [damage] = diagnose(data)
    assert str(damage) == "boot_alternative, boot_cycle not within the first 512 bytes at offset 512"
    assert diagnose(data, ["foreign", "not_set"]) == []
    assert [damage.word for damage in diagnose(data, ["boot_cycle"])] == ["beyond-first-sector"]


def test_a_block_that_other_writers_made_is_sound(env: Path) -> None:
    os.sync()
    report = check(env)
    assert report.sound
    assert report.lines()[0] == f"{env}: sound"
    assert check(str(env)) == report


def test_json(env: Path) -> None:
    env.write_bytes(SAMPLE + b"\n")
    os.sync()
    found = json.loads(check(env).json())
    assert found["schema"] == 1
    assert (found["path"], found["sound"]) == (str(env), False)
    [damage] = found["damages"]
    assert damage == {
        "word": "long",
        "offset": 1024,
        "text": "the file goes on behind a sound block of 1024 bytes",
        "grub": TABLE["long"].grub,
        "repair": TABLE["long"].repair,
    }


def test_check_needs_a_file(tmp_path: Path) -> None:
    for path, kind in ((tmp_path / "grubenv", grubenv.AbsentError), (tmp_path, grubenv.NotRegularError)):
        with pytest.raises(kind, match="cannot read"):
            check(path)


def place_damages(path: Path, change: Callable[[bytes], None]) -> list[Damage]:
    """Change the file and say at once what is wrong with its place; again if somebody's `sync` came in between."""
    for number in range(20):
        data = block(b"number=%d\n" % number)
        change(data)
        damages, unknown = checking.examine_place(path, data)
        assert unknown == ()
        if damages:
            return damages
    return []


@pytest.mark.devices
@pytest.mark.parametrize(
    "options", [(), ("-O", "^has_journal"), ("-O", "^extent,^64bit"), ("-O", "64bit"), ("-I", "128")]
)
def test_what_only_the_cache_holds_is_not_in_place(tmp_path: Path, options: tuple[str, ...]) -> None:
    with mounted(tmp_path, *options) as point:
        path = point / "grubenv"

        def overwrite(data: bytes) -> None:
            with path.open("r+b") as file:
                file.write(data)

        def make(data: bytes) -> None:
            path.unlink(missing_ok=True)
            path.write_bytes(data)

        [damage] = place_damages(path, make)
        assert damage.word in {"delayed-allocation", "not-in-place"}
        assert repair(path).remaining == ()
        assert check(path) == (str(path), (), ())
        [damage] = place_damages(path, overwrite)
        assert (damage.word, damage.text) == ("not-in-place", "the device holds other bytes")
        assert repair(path).remaining == ()
        assert check(path) == (str(path), (), ())


@pytest.mark.devices
def test_what_only_the_journal_holds_is_not_in_place(tmp_path: Path) -> None:
    """A new file that is flushed, renamed, and in the journal: the device still leads GRUB to the old one."""
    with mounted(tmp_path) as point:
        path = point / "grubenv"

        def replace(data: bytes) -> None:
            new = point / "new"
            new.write_bytes(data)
            repair(new)
            new.rename(path)

        path.write_bytes(SAMPLE)
        repair(path)
        [damage] = place_damages(path, replace)
        assert damage.word == "not-in-place"
        assert repair(path).remaining == ()
        assert check(path).sound


@pytest.mark.devices
def test_holes_and_unwritten_extents(tmp_path: Path) -> None:
    with mounted(tmp_path) as point:
        path = point / "grubenv"
        with path.open("wb") as file:
            file.write(block(b"a=1\n", 4096))
            file.truncate(8192)
        os.sync()
        assert words(path) == ["long", "sparse"]
        assert repair(path).how == "replaced"
        assert check(path).sound
        assert grubenv.query(path) == {"a": "1"}
        path.unlink()
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, 1024)
        os.sync()
        assert words(path) == ["nul-filled", "unusual-extent"]
        assert repair(path, FALLBACK).how == "replaced"
        assert check(path).sound
        assert grubenv.query(path) == FALLBACK


def test_file_systems_that_grub_cannot_write(tmp_path: Path) -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.skip("no tmpfs at /dev/shm")
    path = Path("/dev/shm") / f"grubenv-{os.getpid()}"
    try:
        path.write_bytes(SAMPLE)
        [damage] = check(path).damages
        assert str(damage) == "on tmpfs, to which GRUB cannot write"
        done = repair(path)
        assert (done.how, [damage.word for damage in done.remaining]) == ("unchanged", ["file-system"])
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("kind", ["btrfs", "zfs", "overlay", "squashfs", "nfs4", "9p"])
def test_file_systems_by_name(kind: str) -> None:
    damage = filesystem.file_system_damage(kind)
    assert damage is not None
    assert damage.word == "file-system"
    assert all(filesystem.file_system_damage(kind) is None for kind in ("vfat", "ext4", "xfs"))


def make_sysfs(root: Path, files: dict[str, str], device: str) -> str:
    """Make a tree like that below /sys, with `device` as the target of 253:3."""
    for name, content in files.items():
        (root / "devices" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "devices" / name).write_text(content)
    (root / "dev" / "block").mkdir(parents=True)
    (root / "dev" / "block" / "253:3").symlink_to(f"../../devices/{device}")
    return str(root)


@pytest.mark.parametrize(
    ("files", "device", "text"),
    [
        (
            {"dm-0/dm/uuid": "LVM-abc\n", "dm-0/dm/name": "vg-boot\n"},
            "dm-0",
            "on vg-boot, made by LVM, to which GRUB cannot write",
        ),
        ({"md0/md/level": "raid1\n"}, "md0", "on md0, a RAID array, to which GRUB cannot write"),
        (
            {"md0/md/level": "raid1\n", "md0/md0p1/partition": "1\n"},
            "md0/md0p1",
            "on md0, a RAID array, to which GRUB cannot write",
        ),
        ({"dm-0/dm/uuid": "mpath-abc\n", "dm-0/dm/name": "disk\n"}, "dm-0", None),
        ({"vda/vda2/partition": "2\n"}, "vda/vda2", None),
    ],
)
def test_devices_that_grub_cannot_write(tmp_path: Path, files: dict[str, str], device: str, text: str | None) -> None:
    damage = filesystem.device_damage(os.makedev(253, 3), make_sysfs(tmp_path, files, device))
    assert (damage and str(damage)) == text
    assert damage is None or damage.word == "device"


def test_the_path_of_a_device(tmp_path: Path) -> None:
    sysfs = make_sysfs(tmp_path, {"vda/vda2/uevent": "MAJOR=253\nDEVNAME=vda2\n"}, "vda/vda2")
    assert filesystem.device_path(os.makedev(253, 3), sysfs) == "/dev/vda2"
    with pytest.raises(LookupError, match="no block device 0:7"):
        filesystem.device_path(os.makedev(0, 7), sysfs)


def test_the_file_system_of_a_file(tmp_path: Path) -> None:
    with open("/proc/self/status", "rb") as file:
        assert filesystem.file_system_of(file.fileno()) == "proc"
    (tmp_path / "fdinfo").mkdir()
    (tmp_path / "fdinfo" / "3").write_text("pos:\t0\nmnt_id:\t41\n")
    (tmp_path / "mountinfo").write_text(
        "40 1 8:2 / / rw - ext4 /dev/sda2 rw\n41 40 8:1 / /e rw,x shared:3 - vfat /dev/sda1 rw,utf8\n"
    )
    assert filesystem.file_system_of(3, str(tmp_path)) == "vfat"
    # A source may be empty, and a line cut short.
    (tmp_path / "mountinfo").write_text("41 40 0:9 / /e rw - tmpfs  rw,size=4k\n")
    assert filesystem.file_system_of(3, str(tmp_path)) == "tmpfs"
    (tmp_path / "mountinfo").write_text("41 40 0:9 / /e rw - tmpfs\n\n")
    with pytest.raises(LookupError, match="no mount 41"):
        filesystem.file_system_of(3, str(tmp_path))
    (tmp_path / "fdinfo" / "3").write_text("pos:\t0\n")
    with pytest.raises(LookupError):
        filesystem.file_system_of(3, str(tmp_path))
    (tmp_path / "fdinfo" / "3").unlink()
    with pytest.raises(LookupError, match="/proc is not mounted"):
        filesystem.file_system_of(3, str(tmp_path))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, 8192, 1024, 0)], []),
        ([(0, 8192, 512, 0), (512, 16384, 512, 0)], []),
        ([(0, 0, 4096, extents.DELAYED | extents.UNKNOWN)], ["delayed-allocation"]),
        ([(0, 8192, 512, 0)], ["sparse"]),
        ([(512, 8192, 512, 0)], ["sparse"]),
        ([], ["sparse"]),
        ([(0, 8192, 4096, extents.SHARED)], ["unusual-extent"]),
        ([(0, 0, 1024, extents.INLINE)], ["unusual-extent"]),
        ([(0, 8192, 4096, extents.ENCODED)], ["unusual-extent"]),
    ],
)
def test_extents(found: list[tuple[int, int, int, int]], expected: list[str]) -> None:
    damages = extents.extent_damages(1024, [extents.Extent(*extent) for extent in found])
    assert [damage.word for damage in damages] == expected


def test_what_is_not_looked_at_is_said(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    os.sync()
    monkeypatch.setattr(checking, "RawDevice", refuse)
    report = check(env)
    assert report.sound
    assert report.unknown == ("what the device itself holds (operation not permitted)",)
    assert report.lines()[1] == f"{env}: not looked at: what the device itself holds (operation not permitted)"
