"""What lies in /run and where the records are, by another hand or version: nobody waits, breaks, or believes it."""

import fcntl
import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manageboot import config, errors
from manageboot.boot import record
from manageboot.boot.cmdline import boot_id
from manageboot.boot.markers import TrialMarker
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.daemon import statefile
from manageboot.daemon.memory import Memory
from manageboot.daemon.statefile import Shown
from manageboot.events import history
from manageboot.install import progressfile
from manageboot.protocol import Content, Slot
from manageboot.report import page, status
from manageboot.system import files, lock
from manageboot.upgrade import abort, inhibit, rebooting
from manageboot.upgrade.rebooting import Reboot
from support.daemonnode import DaemonNode, start, stepped, turn

MEMORY = Memory(arrived=True, waits_since_s=3.5)
SHOWN = Shown(
    "slot A is booted and trusted",
    900.0,
    {"verdict": "good", "doing": "", "checks": [{"name": "n", "required": True, "result": "passed", "text": ""}]},
    {"slots.A.root": "gone"},
)
RECORDS = {
    Slot.A: SlotRecord(Content.CONFIRMED, version="1", images={"root": ImageRecord(9, 5, "d")}),
    Slot.B: SlotRecord(Content.INSTALLED, version="2", nonce="n"),
}
PROGRESS = {
    "phase": "write",
    "state": "running",
    "bytes_done": 5,
    "bytes_total": None,
    "bytes_written": 0,
    "bytes_kept": 0,
    "bytes_verified": 0,
    "seconds": 1.5,
    "seconds_left": 3,
}


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Let a test that waits for a pipe fail, instead of waiting for ever."""

    def fail(*_arguments: object) -> None:
        raise AssertionError("somebody waits")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    return stepped(DaemonNode(tmp_path), monkeypatch)


@pytest.fixture
def settings(node: DaemonNode) -> config.Config:
    return config.load(str(node.config))


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": lambda path: (path / "full").mkdir(parents=True),
    "socket": bind,
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "link to a directory": lambda path: path.symlink_to("/"),
    "huge": lambda path: path.touch() or os.truncate(path, 1 << 40),
    "empty": lambda path: path.touch(),
}


def put(path: Path, kind: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.mark.grub
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_says_nothing(node: DaemonNode, settings: config.Config, kind: str):
    run, state = node.run_directory, settings.state
    names = ("daemon.json", "progress.json", "given-up", "reboot-asked")
    for path in (*(run / name for name in names), Path(state.directory) / "record.json"):
        put(path, kind)
        put(path.with_name(f"{path.name}.new"), kind)
    assert statefile.load(state.runtime_directory) == (Memory(), Shown())
    assert progressfile.read(state.runtime_directory, f"{os.getpid()} upgrade-install") is None
    assert not abort.marked(settings, "deadline")
    assert rebooting.how_far(settings) is None
    found = status.collect(settings)
    assert found["slots"]["A"]["record"] is None
    codes = [problem["code"] for problem in found["problems"]]
    assert codes in ([], ["RECORD_DAMAGED"], ["IO_ERROR"])
    page.render(found)
    # And it keeps nobody from writing, where a rename can put a file in its place.
    abort.mark(settings, TrialMarker.DEADLINE)
    rebooting.mark(settings, Reboot.STARTED)
    progressfile.ProgressFile(state.runtime_directory).update(PROGRESS)
    assert statefile.store(state.runtime_directory, MEMORY, SHOWN) is (kind != "directory")
    if kind != "directory":
        record.store(state.directory, RECORDS)
        assert record.load(state.directory) == RECORDS
        assert statefile.load(state.runtime_directory) == (MEMORY, SHOWN)
        assert abort.marked(settings, "deadline")
        assert rebooting.how_far(settings) is Reboot.STARTED
        assert progressfile.read(state.runtime_directory, f"{os.getpid()} upgrade-install") == PROGRESS
    assert os.stat("/dev/zero").st_mode & 0o777 == 0o666


@pytest.mark.grub
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_holds_the_daemon_can_be_put_there_and_taken_away(
    node: DaemonNode, settings: config.Config, kind: str
):
    put(node.run_directory / "inhibit", kind)
    assert inhibit.active(settings)
    inhibit.take(settings)
    assert inhibit.active(settings)
    if kind == "directory":
        with pytest.raises(errors.ManagebootError, match="cannot remove"):
            inhibit.release(settings)
        return
    inhibit.release(settings)
    assert not inhibit.active(settings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_that_is_no_file_is_no_lock(tmp_path: Path, kind: str):
    put(tmp_path / "lock", kind)
    if kind in {"huge", "empty", "link to nowhere"}:
        with lock.held(str(tmp_path / "lock"), "confirm"):
            assert lock.holder(str(tmp_path / "lock")) == f"{os.getpid()} confirm"
        return
    with pytest.raises(errors.CreateError), lock.held(str(tmp_path / "lock"), "confirm"):
        pass
    assert lock.holder(str(tmp_path / "lock")) is None
    assert os.stat("/dev/zero").st_mode & 0o777 == 0o666


@pytest.mark.parametrize("said", ["", "\n", "x", "1", "\0" * 50, "1 \n", " ", "\ud800"])
def test_what_the_holder_says_may_be_anything(tmp_path: Path, said: str):
    path = tmp_path / "lock"
    with path.open("wb") as file:
        file.write(said.encode("utf-8", "surrogatepass"))
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock.holder(str(path)) == str(os.getpid())
        with pytest.raises(errors.LockedError), lock.held(str(path), "confirm"):
            pass


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"a":1,"a":2}', "NaN", "[1e999]", "-Infinity", "9" * 5000, "\ud800", "\0", "1 2"],
)
def test_what_is_no_json_is_an_error_of_one_kind(text: str):
    with pytest.raises(ValueError, match=r"^.+"):
        files.parse(text.encode("utf-8", "surrogatepass"))


def test_a_file_of_somebody_else_is_not_ours(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("x")
    assert files.read(str(path), 1, ours=True) == b"x"
    os.chown(path, 12345, 0)
    assert files.read(str(path), 1) == b"x"
    with pytest.raises(ValueError, match="it belongs to user 12345"):
        files.read(str(path), 1, ours=True)
    with pytest.raises(ValueError, match="it is longer than 0 bytes"):
        files.read(str(path), 0)


ODD: list[Any] = [None, True, -1, 0, 1e300, 10**400, "x", "", [], {}, [[]], {"x": {}}, "\ud800\n\0"]


def variants(value: Any) -> Iterator[Any]:
    """Yield what becomes of a value when one thing in it is odd, is not there, or is there besides."""
    yield from ODD
    if isinstance(value, dict):
        yield {**value, "tomorrow": 1}
        for key, one in value.items():
            yield {other: kept for other, kept in value.items() if other != key}
            yield from ({**value, key: odd} for odd in variants(one))
    if isinstance(value, list):
        for place, one in enumerate(value):
            yield from ([*value[:place], odd, *value[place + 1 :]] for odd in variants(one))


def daemon_content() -> dict[str, Any]:
    shown = {**SHOWN._asdict(), "devices": dict(SHOWN.devices)}
    return {"boot": boot_id(), "memory": MEMORY._asdict(), "shown": shown}


@pytest.mark.grub
def test_the_daemon_goes_on_whatever_the_last_one_left(node: DaemonNode, settings: config.Config):
    path = node.run_directory / "daemon.json"
    count = 0
    for content in variants(daemon_content()):
        path.write_text(json.dumps(content))
        memory, shown = statefile.load(settings.state.runtime_directory)
        # Each value is of the type of the default, or the default itself.
        for kept, default in zip(memory, Memory(), strict=True):
            assert type(kept) is bool if type(default) is bool else kept is None or 0 <= kept < 1 << 53
        found = {**shown._asdict(), "devices": dict(shown.devices), "running": True, "held": False}
        page._daemon(found, lambda _label, _text, _style="": None)
        status._found_by(found)
        json.dumps(found)
        count += 1
    assert count > 300


@pytest.mark.grub
@pytest.mark.parametrize(
    "memory",
    [{"asked_s": 1e15, "waits_since_s": 1e15}, {"asked_s": "x"}, {"arrived": "yes"}, {"tomorrow": 5}, [], None],
)
def test_a_trial_ends_whatever_the_last_daemon_left(node: DaemonNode, memory: object):
    node.configure(policy="external", deadline="900")
    node.start_trial()
    content = {"boot": boot_id(), "memory": memory, "shown": {"devices": {}}}
    (node.run_directory / "daemon.json").write_text(json.dumps(content))
    daemon = start(node)
    turn(daemon, 10.0, 900.0)
    assert (node.block()["mb_trial"], node.reboot_count()) == ("deadline", 1)
    turn(start(node), 960.0)
    assert node.reboot_count() == 2


def test_the_newer_daemon_s_file_is_read_as_far_as_it_is_known(tmp_path: Path):
    content = daemon_content()
    content["memory"]["tomorrow"] = content["shown"]["tomorrow"] = content["tomorrow"] = [1]
    (tmp_path / "daemon.json").write_text(json.dumps(content))
    assert statefile.load(str(tmp_path)) == (MEMORY, SHOWN)


def test_progress_of_any_kind_is_shown_or_left_out(tmp_path: Path):
    path, holder = tmp_path / "progress.json", f"{os.getpid()} upgrade-install"
    for content in variants({"pid": os.getpid(), **PROGRESS}):
        path.write_text(json.dumps(content))
        found = progressfile.read(str(tmp_path), holder)
        assert (page.how_far(found) == "") == (found is None)
    path.write_text(json.dumps({"pid": os.getpid(), **PROGRESS, "tomorrow": 1}))
    assert progressfile.read(str(tmp_path), holder) == {**PROGRESS, "tomorrow": 1}


def test_records_of_any_kind_are_read_or_damaged(tmp_path: Path):
    record.store(str(tmp_path), RECORDS)
    path = tmp_path / "record.json"
    for content in variants(json.loads(path.read_text())):
        path.write_text(json.dumps(content))
        try:
            found = record.load(str(tmp_path))
        except errors.RecordDamagedError as error:
            assert len(str(error)) < 500
            continue
        for entry in found.values():
            assert isinstance(entry.content, Content)
            assert all(isinstance(text, str) for text in (*entry[1:5], *entry[6:]) if text is not None)
            for image in (entry.images or {}).values():
                assert (type(image.size), type(image.data_size), type(image.digest)) == (int, int, str)
                assert min(image[:2]) >= 0


@pytest.mark.grub
def test_bytes_that_flip_break_nobody(node: DaemonNode, settings: config.Config):
    """Each file with some of its bytes changed, cut, or doubled; with the same dice each time."""
    dice = random.Random(12)
    state = settings.state
    assert statefile.store(state.runtime_directory, MEMORY, SHOWN)
    progressfile.ProgressFile(state.runtime_directory).update(PROGRESS)
    abort.mark(settings, TrialMarker.DEADLINE)
    rebooting.mark(settings, Reboot.NOT_STARTED)
    record.store(state.directory, RECORDS)
    for number in range(5):
        history.append(settings, history.Entry("2026-01-01T00:00:00+00:00", "confirmed", "A", f"message {number}"))
    places = [node.run_directory / name for name in ("daemon.json", "progress.json", "given-up", "reboot-asked")]
    places += [Path(state.directory) / "record.json", Path(history.path_of(settings))]
    whole = {path: path.read_bytes() for path in places}
    for _ in range(150):
        for path, content in whole.items():
            changed = bytearray(content)
            for _ in range(dice.choice([1, 1, 2, 8])):
                changed = changed or bytearray(content)
                place = dice.randrange(min(len(changed), 3000))
                match dice.randrange(4):
                    case 0:
                        changed[place] = dice.randrange(256)
                    case 1:
                        changed[place] ^= 1 << dice.randrange(8)
                    case 2:
                        del changed[place : place + dice.choice([1, 20])]
                    case 3:
                        changed[place:place] = dice.choice([b"-", b"e9", b'"', b"[", b"{", b"\xff", b"null,"])
            path.write_bytes(changed)
        found = status.collect(settings)
        found["running"] = f"{os.getpid()} upgrade-install"
        found["progress"] = progressfile.read(state.runtime_directory, found["running"])
        assert "\0" not in page.render(found)
        history.render(history.to_json(settings))
        abort.marked(settings, "deadline")
        rebooting.how_far(settings)
        start(node)
