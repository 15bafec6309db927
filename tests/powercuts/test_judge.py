"""Rules that look at nothing but GRUB's files."""

from pathlib import Path

import grubenv
from manageboot import config
from manageboot.boot import floor
from manageboot.boot.floor import Installed
from manageboot.channel import kept
from manageboot.channel.kept import Kept
from manageboot.events import history
from manageboot.protocol import Slot
from powercuts import vouched
from powercuts.agentjudge import modules
from powercuts.judge import told_too_early, trusted_too_early
from powercuts.vouched import Vouched


def block(**variables: str) -> bytes:
    return grubenv.EnvBlock.create().update(variables).build()


def log(*events: tuple[str, str]) -> bytes:
    entries = (history.Entry("", event, slot, "", sequence=number) for number, (event, slot) in enumerate(events))
    return b"".join(map(history.encode, entries))


def test_the_trusted_slot_is_not_the_one_on_trial():
    for cycle, slot, wrong in (
        ("first_boot", "B", True),
        ("failsafe_check", "B", True),
        ("failsafe_check", "A", False),
        ("stable", "B", False),
    ):
        files = {"grubenv": block(boot_alternative=slot, boot_cycle=cycle), "manageboot.env": block(mb_trusted="B")}
        assert bool([*trusted_too_early(files)]) == wrong


def test_a_trial_is_told_of_once_the_block_knows_of_it():
    for cycle, last, wrong in (
        ("first_boot", "trial_started", True),
        ("failsafe_check", "trial_started", False),
        ("first_boot", "committed", False),
    ):
        files = {
            "grubenv": block(boot_alternative="B", boot_cycle=cycle),
            "manageboot.log": log(("installed", "B"), (last, "B")),
        }
        assert bool([*told_too_early(files)]) == wrong


def test_what_is_kept_of_releases_is_whole_and_never_less_than_was_told(tmp_path: Path):
    settings = config.load(profile="guestos", grubenv=str(tmp_path / "grubenv"))
    floor.note(settings, Slot.B, Installed("1.4", 4, 2, "0" * 64, (), "ab"))
    floor.confirmed(settings, Slot.B, "ab")
    kept.store(settings, Kept({1: b"the first", 2: b"the next"}))
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    told = vouched.read(files)
    assert told == Vouched(4, 2, 2)
    assert [*vouched.missing(files, told)] == []
    assert len([*vouched.missing({}, told)]) == 3
    for name, content in files.items():
        found = [*vouched.missing({**files, name: content[: len(content) // 2]}, told)]
        assert len(found) == 1
        assert found[0].startswith("what is kept of releases is not whole: ")
    assert [*vouched.missing({**files, "manageboot.update": b""}, told)] != []


def test_the_floor_rises_once_a_trial_is_confirmed_and_then_it_does(tmp_path: Path):
    settings = config.load(profile="guestos", grubenv=str(tmp_path / "grubenv"))
    path = tmp_path / floor.FILE_NAME
    floor.note(settings, Slot.B, Installed("1.4", 4, 2, "0" * 64, (), "ab"))
    told = vouched.read({path.name: path.read_bytes()})
    assert [*vouched.raised_too_early({path.name: path.read_bytes()}, told, "B")] == []
    assert vouched.is_behind(path.read_bytes(), "B")
    assert not vouched.is_behind(path.read_bytes(), "A")
    floor.confirmed(settings, Slot.B, "ab")
    files = {path.name: path.read_bytes()}
    assert not vouched.is_behind(path.read_bytes(), "B")
    assert [*vouched.raised_too_early(files, told, "B")] == ["the floor is 4 already, and slot B is on trial"]
    assert [*vouched.raised_too_early(files, told, "")] == []
    # A rollback to a slot that was confirmed is a trial as well.
    assert [*vouched.raised_too_early(files, told.most(vouched.read(files)), "A")] == []


def test_the_agent_that_judges_has_what_a_node_has():
    """What builds releases needs libraries that no node has, nor a machine that only judges."""
    found = {*modules()}
    assert {"grubenv.updating", "manageboot.cli.main", "manageboot.unattended.memory"} <= found
    assert not [name for name in found if name.startswith(("manageboot.publish", "manageboot.manual"))]
