"""The floor and the trusted metadata: raised by a confirm alone, never lowered, old or new whatever fails."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from channel.floornode import FloorNode
from manageboot import errors
from manageboot.boot import floor
from manageboot.boot.floor import Floor, Installed
from manageboot.boot.node import observe
from manageboot.channel import kept
from manageboot.channel.channel import Wanted
from manageboot.channel.kept import Kept
from manageboot.config import Config
from manageboot.install.vouched import choose
from manageboot.protocol import Slot

CALLS = ("open", "fsync", "rename", "pread")


@pytest.fixture
def node(tmp_path: Path) -> FloorNode:
    return FloorNode(tmp_path)


def installed(index: int, *, min_index: int = 0, transaction: str = "ab") -> Installed:
    return Installed(f"1.{index}", index, min_index, "0" * 64, ("key",), transaction)


def test_a_confirm_raises_it_and_nothing_else_does(node: FloorNode):
    floor.note(node.settings, Slot.B, installed(5, min_index=2))
    assert node.floor() == 0
    node.boot("B", "failsafe_check")
    for query in (["status"], ["current"], ["history"]):
        assert node.run(*query) == 0
    assert node.floor() == 0
    assert node.run("confirm") == 0
    known = floor.load(node.settings)
    assert (known.release_index, known.min_index) == (5, 2)
    # An older one that is confirmed later lowers nothing.
    floor.note(node.settings, Slot.A, installed(3))
    node.boot("A", "failsafe_check")
    assert node.run("confirm") == 0
    assert node.floor() == 5


def test_a_confirm_that_can_not_raise_it_succeeds_and_the_next_one_does(
    node: FloorNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    floor.note(node.settings, Slot.B, installed(5))
    node.boot("B", "failsafe_check")
    with monkeypatch.context() as patch:
        patch.setattr(floor, "_store", fail)
        assert node.run("confirm") == 0
    assert node.floor() == 0
    assert "the floor is not raised" in caplog.text
    assert node.run("confirm") == 0
    assert node.floor() == 5


def fail(*_: object) -> None:
    raise errors.DeviceError("cannot write the floor: the disk is gone")


def test_what_was_installed_since_by_who_knows_no_releases_is_not_counted(node: FloorNode):
    floor.note(node.settings, Slot.B, installed(5, transaction="ab"))
    record = {"schema": 1, "slots": {"B": {"state": "committed", "transaction": "cd"}}}
    (node.directory / "state").mkdir()
    (node.directory / "state/record.json").write_text(json.dumps(record))
    node.boot("B", "failsafe_check")
    assert node.run("confirm") == 0
    assert node.floor() == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"null", b'{"schema": 1, "index": -1}', b'{"schema": 1, "index": 1, "index": 2}', b"\0" * 99],
)
def test_one_that_can_not_be_read_stops_releases_and_no_confirm(node: FloorNode, content: bytes):
    (node.directory / "manageboot.floor").write_bytes(content)
    with pytest.raises(errors.FloorDamagedError):
        floor.load(node.settings)
    assert node.run("check", str(node.directory)) == 65
    node.boot("B", "failsafe_check")
    assert node.run("confirm") == 0
    assert (node.directory / "manageboot.floor").read_bytes() == content
    floor.note(node.settings, Slot.B, None, anew=True)
    assert floor.load(node.settings) == Floor()


def test_only_root_goes_below_the_floor(node: FloorNode, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(errors.NotPermittedError, match="only root may"):
        choose(node.settings, observe(node.settings), Wanted("/", may_downgrade=True))


def raise_it(settings: Config) -> None:
    floor.confirmed(settings, Slot.B, "ab")


def rotate(settings: Config) -> None:
    kept.store(settings, Kept({1: b"old", 2: b"new root"}, {"timestamp": b"of the new root"}))


@pytest.mark.parametrize("change", [raise_it, rotate])
@pytest.mark.parametrize("call", CALLS)
def test_whatever_fails_the_old_file_is_there_or_the_new_one(
    node: FloorNode, monkeypatch: pytest.MonkeyPatch, change: Callable[[Config], None], call: str
):
    settings = node.settings
    kept.store(settings, Kept({1: b"old"}, {"timestamp": b"of the old root"}))
    floor.note(settings, Slot.A, installed(3))
    floor.confirmed(settings, Slot.A, "ab")
    floor.note(settings, Slot.B, installed(5))
    old = floor.load(settings), kept.load(settings)
    for number in range(1, 20):
        with monkeypatch.context() as patch:
            left = failing(patch, call, number)
            try:
                change(settings)
            except errors.ManagebootError:
                assert left() == 0
            else:
                break
        now = floor.load(settings), kept.load(settings)
        assert now[0].release_index in {3, 5}
        assert now[1] in (old[1], Kept({1: b"old", 2: b"new root"}, {"timestamp": b"of the new root"}))
    change(settings)
    assert floor.load(settings).release_index == (5 if change is raise_it else 3)


def failing(patch: pytest.MonkeyPatch, call: str, number: int) -> Callable[[], int]:
    """Let one call of the system fail, the one with this number; return how many are left until then."""
    left = number
    real = getattr(os, call)

    def called(*arguments: object, **named: object) -> object:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **named)

    patch.setattr(os, call, called)
    return lambda: left


def test_what_is_kept_of_the_metadata_is_read_as_it_was_written(node: FloorNode):
    whole = Kept(
        {3: b"\xff root", 4: b"{}"}, {"timestamp": b"t", "targets": b"x"}, 9, ("key",), "2026-11-27T00:00:00+00:00"
    )
    kept.store(node.settings, whole)
    assert kept.load(node.settings) == whole
    stored = json.loads((node.directory / "manageboot.tuf").read_text())
    for bad in (
        {"roots": {"1": "a", "3": "b"}},
        {"roots": {"1": "a", "1000000000000000000": "b"}},
        {"roles": {"other": "x"}},
        {"built": -1},
        {"built": 1 << 52},
        {"schema": 2},
        {"expires": 3},
    ):
        (node.directory / "manageboot.tuf").write_text(json.dumps(stored | bad))
        with pytest.raises(errors.MetadataError):
            kept.load(node.settings)


def test_a_time_of_building_that_can_not_be_is_not_believed():
    state = Kept(expires="2026-11-27T00:00:00+00:00")
    assert state.with_built(1795737599).built == 1795737599
    assert [state.with_built(built).built for built in (1795737600, 1 << 52)] == [0, 0]
    assert state.with_built(5).with_built(3).built == 5
