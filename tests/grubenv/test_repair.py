"""Repair: every row of the damage table, then arbitrary bytes, then interruptions."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import grubenv
from grubenv.checking import check
from grubenv.damage.diagnosis import diagnose
from grubenv.damage.mending import mended, same_for_grub, size_for
from grubenv.damage.salvage import salvage
from grubenv.repairing import repair
from grubenv.writing import storage
from tests.grubenv.blocks import FALLBACK, SAMPLE, STATE, WARNING, block
from tests.grubenv.damages import EXAMPLES, Example
from tests.grubenv.disks import mount, need_loop_devices
from tests.grubenv.found import FOUND, inputs
from tests.grubenv.support import DAMAGED_OR_NOT, need, valid_blocks
from tests.support.loop import loop_device

MENDING = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("one", EXAMPLES.values(), ids=EXAMPLES)
def test_each_damage_is_mended(tmp_path: Path, one: Example) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(one.data)
    path.chmod(0o640)
    done = repair(path, FALLBACK)
    assert one.word in {damage.word for damage in done.found}
    assert done.remaining == ()
    assert grubenv.query(path) == dict(grubenv.read(path)) == one.after
    assert check(path, FALLBACK).sound
    assert path.stat().st_mode & 0o777 == 0o640
    copies = [Path(done.copy)] if done.copy else []
    kept = one.data and one.word != "beyond-first-sector"  # nothing of that one is damaged or lost
    assert [copy.read_bytes() for copy in copies] == ([one.data] if kept else [])
    assert sorted(tmp_path.iterdir()) == [path, *copies]
    again = repair(path, FALLBACK)
    assert (again.how, again.found, again.copy) == ("unchanged", (), None)


def test_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE + b"junk")
    repair(path)
    assert path.read_bytes() == SAMPLE + b"####"


def test_an_absent_file_is_made_from_the_fallback(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    done = repair(path, FALLBACK)
    assert (done.how, done.fallback, done.copy) == ("replaced", FALLBACK, None)
    assert grubenv.query(path) == FALLBACK
    with pytest.raises(grubenv.AbsentError, match="cannot repair"):
        repair(tmp_path / "no" / "grubenv")


def test_nothing_is_invented_where_nothing_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"saved_entry=0\n") + b"\n")
    assert repair(path, FALLBACK).fallback == {}
    assert grubenv.query(path) == {"saved_entry": "0"}


def test_the_fallback_is_one_state(tmp_path: Path) -> None:
    """Half of the old state beside half of the fallback would be a state that never was."""
    path = tmp_path / "grubenv"
    path.write_bytes(b"# GRUB Envir0nment Block\nboot_alternative=B\nother=1\nboot_cyc".ljust(1024, b"\0"))
    done = repair(path, FALLBACK)
    assert done.fallback == FALLBACK
    assert done.kept == {"other": "1"}
    assert grubenv.query(path) == {**FALLBACK, "other": "1"}


@pytest.mark.parametrize(
    ("data", "after"),
    [
        pytest.param(
            block(b"x=1\nboot_alternative=B\n")[:900] + b"$rt" + b"#" * 121,
            {"x": "1", "boot_alternative": "B"},
            id="stray bytes in the padding",
        ),
        pytest.param(
            block(b"boot_alternative=B\n", 600) + bytes(424), {"boot_alternative": "B"}, id="NUL bytes to the end"
        ),
        pytest.param(block(b"boot_cycle=first_boot\nx\n"), {"boot_cycle": "first_boot"}, id="a line without ="),
        pytest.param(
            block(b"boot_alternative=B\nboot_cycle=stable\nboot_alternative=A"),
            {"boot_alternative": "B", "boot_cycle": "stable"},
            id="another value in an unfinished line",
        ),
        pytest.param(
            block(b"boot_alternative=B\nboot\nboot_alternative=A\n"),
            {"boot_alternative": "B"},
            id="another value that GRUB takes for one of another name",
        ),
        pytest.param(
            block(b"boot_alternative=A\nx\nboot_alternative=A\nboot_alternative=B\n"),
            {"boot_alternative": "B"},
            id="the last of three",
        ),
        pytest.param(
            block(b"boot_alternative\0er=B\nboot_alternative=\\B\0\n"),
            {"boot_alternative": "B"},
            id="a name cut at a NUL",
        ),
    ],
)
def test_what_grub_boots_stays(tmp_path: Path, data: bytes, after: dict[str, str]) -> None:
    """As long as GRUB reads one of the names, it boots by that one, and the fallback is another state."""
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    assert {name: value for name, value in grubenv.query(path).items() if name in after} == after
    done = repair(path, {"boot_alternative": "A", "boot_cycle": "stable"})
    assert grubenv.query(path) == dict(grubenv.read(path)) == after
    assert (done.fallback, done.restored) == ({}, ())
    assert done.lost


@pytest.mark.parametrize(
    ("data", "hidden"),
    [
        pytest.param(
            block(b"boot_alternative=A\n\nboot_cycle=failsafe_check\n"),
            {"boot_cycle": "failsafe_check"},
            id="behind a blank line",
        ),
        pytest.param(
            block(b"boot_alternative=B\nboot_cycle=first_boot"), {"boot_cycle": "first_boot"}, id="without its newline"
        ),
    ],
)
def test_a_line_that_a_damage_hides_comes_back(tmp_path: Path, data: bytes, hidden: dict[str, str]) -> None:
    """GRUB reads one of the names, and the bytes of the other are all there: what was written last is one state."""
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    before = grubenv.query(path)
    assert not before.keys() & hidden.keys()
    done = repair(path, FALLBACK)
    assert grubenv.query(path) == {"boot_alternative": before["boot_alternative"], **hidden}
    assert (done.fallback, done.restored) == ({}, tuple(hidden))
    assert f"{path}: GRUB did not read boot_cycle in the damaged bytes" in done.lines()


def test_it_is_said_why_the_fallback_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"x=1\nboot_alternative=B\n")[:900] + b"$rt" + b"#" * 121)
    done = repair(path, FALLBACK)
    assert done.spared == ("boot_alternative",)
    assert f"{path}: the fallback is not used, as GRUB reads boot_alternative" in done.lines()
    assert repair(path, FALLBACK).lines() == [f"{path}: sound, nothing to repair"]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"boot_alternative=B\r\r\nboot_cycle=stable\r\r\n", id="CR CR LF without a signature"),
        pytest.param(block(b"boot_alternative=B\nboot_cycle=stable\r"), id="a CR before the padding"),
        pytest.param(
            EXAMPLES["beyond the first sector"].data[:1020] + b"\0abc",
            id="damaged, and beyond the first sector",
        ),
        pytest.param(block(b"boot\n") + b"###text\n###\0###", id="a comment behind what looks like a whole block"),
    ],
)
def test_a_second_repair_changes_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    assert repair(path, STATE).remaining == ()
    mended = path.read_bytes()
    again = repair(path, STATE)
    assert (again.how, again.found, again.copy, path.read_bytes()) == ("unchanged", (), None, mended)


def test_a_fallback_that_would_be_a_damage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(b"")
    with pytest.raises(grubenv.BadValueError, match="ends with a carriage return"):
        repair(path, {"boot_alternative": "A\r"})
    assert path.read_bytes() == b""


def test_comments_make_way(tmp_path: Path) -> None:
    """The rest of a comment, or of padding, is no reason to leave a node without its state."""
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"other=1\n# note\n", 1014) + b"x\nboot_cyc")
    done = repair(path, FALLBACK)
    assert path.read_bytes() == block(b"boot_alternative=A\nboot_cycle=stable\nother=1\n# note\n")
    assert done.lost[-1].startswith("'####")
    assert done.lost[-1].endswith(": there is no room for it")
    assert done.kept == {"other": "1"}


def test_what_lies_in_the_place_of_a_copy_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE + b"x")
    os.mkfifo(tmp_path / "grubenv.damaged")
    assert repair(path).copy == f"{path}.damaged1"


@pytest.mark.parametrize("there", ["a directory", "a link", "a pipe", "a socket"])
def test_what_is_no_copy_keeps_its_name(tmp_path: Path, there: str) -> None:
    path, taken = tmp_path / "grubenv", tmp_path / "grubenv.damaged"
    with socket.socket(socket.AF_UNIX) as listener:
        {
            "a directory": taken.mkdir,
            "a link": lambda: taken.symlink_to("nowhere"),
            "a pipe": lambda: os.mkfifo(taken),
            "a socket": lambda: listener.bind(str(taken)),
        }[there]()
        path.write_bytes(block(b"boot_alternative=B\nbad\n"))
        assert repair(path).copy == f"{path}.damaged1"
    assert not taken.is_file()
    assert grubenv.query(path) == {"boot_alternative": "B"}


@pytest.mark.devices
def test_a_second_repair_on_btrfs_changes_nothing(tmp_path: Path) -> None:
    need_loop_devices()
    need("mkfs.btrfs")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run(["mkfs.btrfs", "-q", image], check=True)
    with loop_device(image) as loop, mount(loop, tmp_path / "mnt") as point:
        path = point / "grubenv"
        path.write_bytes(block(b"boot_alternative=B\nbad\n"))
        assert repair(path).how != "unchanged"
        before = path.stat().st_ino
        again = repair(path)
        assert {damage.word for damage in again.remaining} == {"file-system", "unusual-extent"}
        assert (again.copy, path.stat().st_ino) == (None, before)
        assert sorted(point.iterdir()) == [path, point / "grubenv.damaged"]


def test_earlier_copies_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    names = []
    for number in range(12):
        path.write_bytes(block(b"n=%d" % number))
        names.append(Path(str(repair(path).copy)).name)
    assert names[:3] == ["grubenv.damaged", "grubenv.damaged1", "grubenv.damaged2"]
    assert names[9:] == ["grubenv.damaged9"] * 3
    assert (tmp_path / "grubenv.damaged1").read_bytes() == block(b"n=1")
    path.write_bytes(block(b"n=3"))
    assert Path(str(repair(path).copy)).name == "grubenv.damaged3"


def test_without_a_copy_nothing_is_touched(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    env.write_bytes(SAMPLE + b"x")
    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(grubenv.CannotCreateError, match=r"cannot repair .*no space left"):
        repair(env)
    assert env.read_bytes() == SAMPLE + b"x"
    assert list(env.parent.iterdir()) == [env]


def test_a_program_that_takes_no_lock_is_noticed(env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env.write_bytes(SAMPLE + b"x")
    monkeypatch.setattr(storage.Storage, "read", lambda _: SAMPLE)
    with pytest.raises(grubenv.StorageError, match="it changed while it was repaired"):
        repair(env)
    assert env.read_bytes() == SAMPLE + b"x"


def test_links_stay(tmp_path: Path) -> None:
    (tmp_path / "esp").mkdir()
    (tmp_path / "grubenv").symlink_to("esp/grubenv")
    (tmp_path / "esp" / "grubenv").write_bytes(b"")
    repair(tmp_path / "grubenv", FALLBACK)
    assert (tmp_path / "grubenv").is_symlink()
    assert grubenv.query(tmp_path / "esp" / "grubenv") == FALLBACK


@given(
    st.one_of(
        DAMAGED_OR_NOT,
        valid_blocks(),
        st.tuples(valid_blocks(), st.integers(0, 700), st.binary(max_size=30)).map(
            lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + len(parts[2]) :]
        ),
    )
)
@example(WARNING)
@example(FOUND["a backslash hides the newline that a repair would add"])
def test_arbitrary_bytes_are_mended(data: bytes) -> None:
    found = salvage(data)
    block_, taken = mended(found, max(size_for(data), 2048), FALLBACK)
    assert diagnose(block_.build(), FALLBACK) == []
    if taken:
        assert {name: block_[name] for name in FALLBACK} == FALLBACK
        assert found.lost


@MENDING
@given(
    st.one_of(st.sampled_from([*inputs().values()]), DAMAGED_OR_NOT, valid_blocks()),
    st.integers(0, 1),
)
@example(FOUND["a backslash hides the newline that a repair would add"], 0)
@example(FOUND["a backslash hides the newline that a repair would add"], 1)
def test_an_interrupted_repair_makes_nothing_worse(data: bytes, stop_after: int) -> None:
    """Stop between two sector writes; GRUB must read the old or the new, and the next repair must get to the end."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        path = Path(directory, "grubenv")
        path.write_bytes(data)
        reference = Path(directory, "reference")
        reference.write_bytes(data)
        repair(reference, FALLBACK)
        write = storage.Storage.write_sector
        calls = []

        def interrupted(self: storage.Storage, *arguments: object) -> None:
            if len(calls) == stop_after:
                raise KeyboardInterrupt
            calls.append(arguments)
            write(self, *arguments)

        patch.setattr(storage.Storage, "write_sector", interrupted)
        try:
            repair(path, FALLBACK)
        except KeyboardInterrupt:
            assert same_for_grub(path.read_bytes(), data) or same_for_grub(path.read_bytes(), reference.read_bytes())
        patch.undo()
        repair(path, FALLBACK)
        assert grubenv.query(path) == grubenv.query(reference)


def test_the_report_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"boot_alternative=B\n=x\nboot_cycle=stable"))
    os.sync()
    assert repair(path, STATE).lines() == [
        f"{path}: found bad-name: bad name '' (it is empty) at offset 44",
        f"{path}: found no-newline: no newline before the padding at offset 64",
        f"{path}: overwritten in place",
        f"{path}: the damaged bytes are kept in {path}.damaged",
        f"{path}: kept boot_alternative=B",
        f"{path}: kept boot_cycle=stable",
        f"{path}: could not keep '=x' at offset 44: it is empty",
        f"{path}: kept, but not certain: 'boot_cycle=stable' at offset 47: its end was missing",
        f"{path}: GRUB did not read boot_cycle in the damaged bytes",
    ]
    assert repair(path).lines() == [f"{path}: sound, nothing to repair"]
