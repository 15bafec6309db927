"""The history: what a power cut, a full disk, garbage and two writers at once leave of it."""

import json
import os
import random
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manageboot import config, errors
from manageboot.config import Config
from manageboot.events import history
from manageboot.events.history import RECORD_BYTES, RECORD_COUNT, Entry
from support.loop import run

SIZE = RECORD_BYTES * RECORD_COUNT
texts = st.none() | st.text()
entries = st.builds(
    Entry,
    time=st.just("2026-11-24T18:54:25+00:00"),
    boot=texts,
    event=st.text(),
    slot=st.sampled_from("AB"),
    message=st.text(),
    version=texts,
    transaction=texts,
    cause=texts,
    commit=texts,
    seconds=st.none() | st.floats(0, 1e9),
    written_bytes=st.none() | st.integers(0, 1 << 50),
    sequence=st.integers(0, (1 << 53) - 1),
)


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """A node whose block lies where GRUB's own configuration does."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub" / "grub.cfg").touch()
    return config.load(profile="guestos", grubenv=str(tmp_path / "grub" / "grubenv"))


def entry(number: int, message: str = "Slot B is confirmed") -> Entry:
    return Entry("2026-11-24T18:54:25+00:00", "confirmed", "B", f"{message} {number}", "b0")


def file_of(settings: Config) -> Path:
    return Path(history.path_of(settings))


def fill(settings: Config, count: int) -> None:
    for number in range(count):
        history.append(settings, entry(number))


def sequences(settings: Config) -> list[int]:
    return [one.sequence for one in history.read(settings).entries]


@given(entries)
def test_a_record_is_a_sector_and_reads_back(written: Entry):
    record = history.encode(written)
    assert (len(record), record[-1:], record.isascii()) == (RECORD_BYTES, b"\n", True)
    [found] = history.parse(record).entries
    # The message is what gives way, and a word only where it is longer than any that we know.
    assert found.message == written.message or found.message.endswith("...")
    short = {
        key: value for key, value in written._asdict().items() if key != "message" and len(json.dumps(value)) <= 44
    }
    assert {key: found._asdict()[key] for key in short} == short


def test_what_is_as_long_as_on_a_node_is_not_cut():
    written = entry(1)._replace(
        boot="b" * 36, version="0" * 40, transaction="f" * 16, cause="died-before-userspace", event="not_acknowledged"
    )
    assert history.parse(history.encode(written)).entries == [written]


def test_the_file_can_be_read_by_a_person(settings: Config):
    history.append(settings, entry(1))
    text = file_of(settings).read_text()
    assert text.startswith(f"{zlib.crc32(text[9:RECORD_BYTES].encode()):08x} {{")
    assert '"event":"confirmed"' in text.splitlines()[0]


def test_the_newest_are_kept_in_their_order_and_in_one_size(settings: Config):
    fill(settings, 1)
    inode = file_of(settings).stat().st_ino
    fill(settings, RECORD_COUNT + 4)
    assert sequences(settings) == list(range(5, RECORD_COUNT + 5))
    status = file_of(settings).stat()
    assert (status.st_size, status.st_ino, status.st_mode & 0o777) == (SIZE, inode, 0o644)
    assert sorted(path.name for path in file_of(settings).parent.iterdir()) == ["grub.cfg", "manageboot.log"]


def test_a_write_that_is_torn_anywhere_costs_one_record(settings: Config):
    fill(settings, RECORD_COUNT + 3)
    path = file_of(settings)
    before = path.read_bytes()
    history.append(settings, entry(99, "The new one"))
    after = path.read_bytes()
    [at] = [offset for offset in range(0, SIZE, RECORD_BYTES) if before[offset:][:512] != after[offset:][:512]]
    others, oldest, newest = set(range(4, RECORD_COUNT + 3)), 3, RECORD_COUNT + 3
    for cut in range(RECORD_BYTES + 1):
        # The disk may begin at either end.
        for torn in (
            after[: at + cut] + before[at + cut :],
            before[: at + cut] + after[at + cut : at + RECORD_BYTES] + before[at + RECORD_BYTES :],
        ):
            found = history.parse(torn)
            got = {one.sequence for one in found.entries} - others
            assert (len(found.entries) - len(got), found.damaged) == (len(others), int(not got))
            assert got in (set(), {oldest}, {newest})


@pytest.mark.parametrize("cut", [0, 1, 8, 9, 10, 256, 511, 512])
def test_after_a_torn_write_the_next_one_takes_its_place(settings: Config, cut: int):
    fill(settings, 3)
    path = file_of(settings)
    before = path.read_bytes()
    fill(settings, 1)
    after = path.read_bytes()
    at = 3 * RECORD_BYTES
    torn = after[: at + cut] + before[at + cut :]
    path.write_bytes(torn)
    # What is behind the text are spaces, before as after.
    whole = torn == after
    assert whole is (cut > len(after[at : at + RECORD_BYTES].strip()))
    history.append(settings, entry(7, "After the power cut"))
    newest = history.read(settings).entries[-1]
    assert newest.message == "After the power cut 7"
    assert sequences(settings) == [0, 1, 2, 3, 4][: 5 if whole else 4]
    assert history.read(settings).damaged == 0


def test_a_bad_record_is_skipped_and_counted(settings: Config):
    fill(settings, 5)
    with file_of(settings).open("r+b") as file:
        file.seek(2 * RECORD_BYTES + 100)
        file.write(b"\xff")
    shown = history.to_json(settings)
    assert ([one["sequence"] for one in shown["entries"]], shown["damaged"], shown["schema"]) == ([0, 1, 3, 4], 1, 1)
    assert history.render(shown).endswith("1 more can't be read")


def test_an_event_is_one_line(settings: Config):
    history.append(settings, entry(1, "check dns failed: no answer\nfrom 10.0.0.1\nevent"))
    [line] = history.render(history.to_json(settings)).splitlines()
    assert line.endswith("check dns failed: no answer / from 10.0.0.1 / event 1")


def sealed(body: str) -> bytes:
    text = f"{body:{RECORD_BYTES - 10}}\n".encode()
    return b"%08x " % zlib.crc32(text) + text


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "null",
        "7",
        "{}",
        "[" * 500,
        '{"time":"t","event":"e","slot":"A","message":5}',
        '{"time":"t","event":"e","slot":"A","message":"m","boot":[]}',
        '{"time":"t","event":"e","slot":"A","message":"m","sequence":-1}',
        '{"time":"t","event":"e","slot":"A","message":"m","sequence":true}',
        f'{{"time":"t","event":"e","slot":"A","message":"m","sequence":{10**100}}}',
    ],
)
def test_a_record_that_means_nothing_is_skipped(body: str):
    assert history.parse(sealed(body)) == history.History([], 1)


def test_what_a_newer_version_adds_is_no_damage():
    known = '{"time":"t","event":"teleported","slot":"A","message":"m","sequence":3,"boot":"b"'
    [found] = history.parse(sealed(known + ',"tomorrow":[1]}')).entries
    assert (found.event, found.sequence) == ("teleported", 3)


@pytest.mark.parametrize("size", [0, 1, 511, 700, SIZE - 512, SIZE + 512, 3 << 20])
@pytest.mark.parametrize("what", ["cut", "garbage"])
def test_a_file_of_another_length_is_made_anew_with_what_it_holds(settings: Config, size: int, what: str):
    fill(settings, 2)
    content = file_of(settings).read_bytes() if what == "cut" else b"\xa5" * 1000
    file_of(settings).write_bytes((content + b"\xa5" * size)[:size])
    kept = sequences(settings)
    assert kept == ([] if what == "garbage" else list(range(min(2, size // RECORD_BYTES))))
    fill(settings, 1)
    assert sequences(settings) == [*kept, len(kept)]
    assert file_of(settings).stat().st_size == SIZE


def test_a_file_of_garbage_is_written_over(settings: Config):
    file_of(settings).write_bytes(random.Random(1).randbytes(SIZE))
    assert history.read(settings).entries == []
    fill(settings, 3)
    assert sequences(settings) == [0, 1, 2]


def test_where_grubs_file_system_is_not_mounted_none_is_made(settings: Config):
    (file_of(settings).parent / "grub.cfg").unlink()
    with pytest.raises(errors.CreateError, match=r"cannot make .*/manageboot\.log: neither"):
        fill(settings, 1)
    assert not file_of(settings).exists()
    elsewhere = file_of(settings).parent / "elsewhere"
    fill(settings._replace(state=settings.state._replace(history=str(elsewhere))), 1)
    assert elsewhere.stat().st_size == SIZE


def test_a_pipe_is_no_history_and_nobody_waits_for_it(settings: Config):
    os.mkfifo(file_of(settings))
    with pytest.raises(errors.InputError, match="it is not a regular file"):
        fill(settings, 1)
    with pytest.raises(errors.InputError, match="it is not a regular file"):
        history.read(settings)


@pytest.mark.parametrize("kind", ["pipe", "link", "second name"])
def test_what_lies_where_the_file_is_made_is_neither_waited_for_nor_written(settings: Config, kind: str):
    temporary, somebodys = Path(f"{file_of(settings)}.new"), file_of(settings).with_name("somebodys")
    somebodys.write_text("precious")
    match kind:
        case "pipe":
            os.mkfifo(temporary)
        case "link":
            temporary.symlink_to(somebodys)
        case "second name":
            temporary.hardlink_to(somebodys)
    fill(settings, 1)
    assert (sequences(settings), somebodys.read_text()) == ([0], "precious")
    assert not temporary.exists()


@pytest.mark.devices
def test_no_space_is_an_error_before_and_none_after(settings: Config):
    directory = file_of(settings).parent
    run("mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", directory)
    try:
        (directory / "grub.cfg").touch()
        (directory / "big").write_bytes(bytes(100 << 10))
        with pytest.raises(errors.ManagebootError, match=r"cannot make .*: No space left on device"):
            fill(settings, 1)
        assert sorted(path.name for path in directory.iterdir()) == ["big", "grub.cfg"]
        (directory / "big").unlink()
        fill(settings, 1)
        with pytest.raises(OSError, match="No space left"):
            (directory / "big").write_bytes(bytes(128 << 10))
        fill(settings, RECORD_COUNT)
        assert sequences(settings) == list(range(1, RECORD_COUNT + 1))
        run("mount", "-o", "remount,ro", directory)
        with pytest.raises(errors.ManagebootError, match=r"cannot write .*: Read-only file system"):
            fill(settings, 1)
        assert len(sequences(settings)) == RECORD_COUNT
    finally:
        run("umount", directory)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory for all to look into; another run of pytest may close those above tmp_path at any time."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_query_needs_no_root_no_lock_and_no_file(open_to_all: Path):
    (open_to_all / "grub.cfg").touch()
    settings = config.load(profile="guestos", grubenv=str(open_to_all / "grubenv"))
    command = [sys.executable, "-m", "manageboot", "-f", settings.boot.grubenv, "guestos", "history"]
    options = {"user": "nobody", "env": {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, "timeout": 60}

    def run_query(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], check=False, capture_output=True, text=True, **options)

    def query(*more: str) -> str:
        done = run_query(*more)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert query() == f"no events yet in {file_of(settings)}\n"
    assert json.loads(query("--json"))["entries"] == []
    fill(settings, 2)
    lines = query().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1"]
    assert lines[1].endswith("B  confirmed         Slot B is confirmed 1")
    assert json.loads(query("--json")) == {
        "schema": 1,
        "path": str(file_of(settings)),
        "may_be_stale": False,
        "damaged": 0,
        "entries": [{**one._asdict()} for one in history.read(settings).entries],
    }
    assert sorted(path.name for path in open_to_all.iterdir()) == ["grub.cfg", "manageboot.log"]
    file_of(settings).chmod(0o600)
    done = run_query()
    assert (done.returncode, done.stdout) == (77, "")
    assert f"manageboot: error: cannot read {file_of(settings)}: Permission denied [NOT_PERMITTED]" in done.stderr


def test_a_link_beside_the_block_is_not_followed(settings: Config, tmp_path: Path):
    """Who names the block with -f may not write what the link leads to; root would."""
    victim = tmp_path / "victim"
    for content in (None, b"", b"V" * SIZE):
        if content is not None:
            victim.write_bytes(content)
        file_of(settings).unlink(missing_ok=True)
        file_of(settings).symlink_to(victim)
        for use in (lambda: history.append(settings, entry(1)), lambda: history.read(settings)):
            with pytest.raises(errors.InputError, match="it is a symbolic link"):
                use()
        assert file_of(settings).is_symlink()
        assert (victim.read_bytes() if victim.exists() else None) == content


def test_a_configured_link_is_followed(settings: Config, tmp_path: Path):
    link, target = tmp_path / "link", tmp_path / "elsewhere.log"
    link.symlink_to(target)
    settings = settings._replace(state=settings.state._replace(history=str(link)))
    fill(settings, 3)
    assert sequences(settings) == [0, 1, 2]
    assert (link.is_symlink(), target.stat().st_size) == (True, SIZE)


def test_a_link_that_comes_between_reading_and_writing_is_not_followed(
    settings: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(settings, 2)
    victim = tmp_path / "victim"
    victim.write_bytes(b"V" * SIZE)
    encode = history.encode

    def exchange(written: Entry) -> bytes:
        file_of(settings).unlink()
        file_of(settings).symlink_to(victim)
        return encode(written)

    monkeypatch.setattr(history, "encode", exchange)
    with pytest.raises(errors.InputError, match="it is a symbolic link"):
        history.append(settings, entry(3))
    assert victim.read_bytes() == b"V" * SIZE


@pytest.mark.parametrize(
    "more",
    [
        '"seconds":NaN',
        '"seconds":1e999',
        '"seconds":-1',
        '"seconds":true',
        '"written_bytes":-5',
        '"written_bytes":1.5',
        '"written_bytes":99999999999999999999',
        '"slot":"B"',
        f'"sequence":{2**53}',
    ],
)
def test_a_number_that_can_not_be_or_a_doubled_key_is_damage(more: str):
    body = f'{{"time":"t","event":"e","slot":"A","message":"m",{more}}}'
    assert history.parse(sealed(body)) == history.History([], 1)


def test_the_last_number_there_is_ends_no_history(settings: Config):
    fill(settings, 3)
    last = history.encode(entry(1, "last")._replace(sequence=2**53 - 1))
    with file_of(settings).open("r+b") as file:
        file.seek((2**53 - 1) % history.RECORD_COUNT * RECORD_BYTES)
        file.write(last)
    assert sequences(settings)[-1] == 2**53 - 1
    fill(settings, 2)
    assert sequences(settings) == [0, 1, 2, 3, 4, 5]


def test_a_record_of_another_hand_is_one_line(settings: Config):
    fill(settings, 1)
    shown = history.to_json(settings)
    shown["entries"][0] |= {"event": "a\nb", "time": "\x1b[2J", "cause": "c\u2028d"}
    assert len(history.render(shown).splitlines()) == 1
