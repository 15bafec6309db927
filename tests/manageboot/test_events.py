"""Events: each is told once, in the journal and in the history, and none can fail what it tells of."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot import config, events, history, journal
from manageboot.config import Config
from manageboot.events import Event
from manageboot.protocol import Slot
from support.images import make_update
from support.node import LoopNode


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Event, str]]:
    """What the journal was told."""
    sent: list[tuple[Event, str]] = []
    monkeypatch.setattr(journal, "send", lambda event, message, **_: sent.append((event, message)))
    return sent


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub" / "grub.cfg").touch()
    loaded = config.load(profile="guestos", grubenv=str(tmp_path / "grub" / "grubenv"))
    return loaded._replace(state=loaded.state._replace(lock=str(tmp_path / "run" / "lock")))


def test_an_event_is_in_the_journal_and_in_the_history(settings: Config, told: list[tuple[Event, str]]):
    events.announce(
        settings,
        Event.FALLBACK,
        "Slot B did not stay",
        slot=Slot.B,
        version="2",
        transaction="1f",
        cause="unloadable",
    )
    assert told == [(Event.FALLBACK, "Slot B did not stay")]
    [entry] = history.read(settings).entries
    assert entry.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert (entry.event, entry.slot, entry.version, entry.transaction, entry.cause, entry.message) == (
        "fallback",
        "B",
        "2",
        "1f",
        "unloadable",
        "Slot B did not stay",
    )


@pytest.mark.parametrize("broken", ["no directory", "a pipe", "no lock"])
def test_a_history_that_cannot_be_written_is_a_warning(
    settings: Config, told: list[tuple[Event, str]], caplog: pytest.LogCaptureFixture, broken: str
):
    path = Path(history.path_of(settings))
    if broken == "no directory":
        (path.parent / "grub.cfg").unlink()
        path.parent.rmdir()
    elif broken == "a pipe":
        os.mkfifo(path)
    else:
        Path(settings.state.lock).parent.touch()
    with caplog.at_level(logging.WARNING):
        events.announce(settings, Event.CONFIRMED, "Slot A is confirmed", slot=Slot.A)
    assert told == [(Event.CONFIRMED, "Slot A is confirmed")]
    [record] = caplog.records
    assert record.getMessage().startswith("the event is not in the history: cannot ")


def test_a_file_name_that_is_no_text_is_told_of_too(settings: Config, told: list[tuple[Event, str]]):
    events.announce(settings, Event.INSTALL_FAILED, "Slot B is void: cannot open \udcff\n", slot=Slot.B)
    assert history.read(settings).entries[0].message == "Slot B is void: cannot open \udcff\n"


def test_many_at_once_lose_nothing(settings: Config):
    code = """if True:
        import sys
        from manageboot import config, events
        from manageboot.protocol import Slot
        loaded = config.load(profile="guestos", grubenv=sys.argv[1])
        loaded = loaded._replace(state=loaded.state._replace(lock=sys.argv[2]))
        for number in range(5):
            events.announce(loaded, events.Event.CONFIRMED, f"{sys.argv[3]} {number}", slot=Slot.A)
    """
    command = [sys.executable, "-c", code, settings.boot.grubenv, settings.state.lock]
    runs = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(8)]
    assert [run.communicate()[1] and run.returncode for run in runs] == [b""] * 8
    found = history.read(settings)
    assert [entry.sequence for entry in found.entries] == list(range(40))
    assert {entry.message for entry in found.entries} == {f"{run} {n}" for run in range(8) for n in range(5)}


@pytest.mark.devices
def test_an_upgrade_leaves_its_history_where_both_slots_read_it(node: LoopNode, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    node.ok("upgrade-commit", "--no-reboot")
    node.ok("upgrade-cancel")
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.ok("confirm")
    lines = node.ok("history").splitlines()
    assert [line.split()[2:4] for line in lines] == [
        ["B", "installed"],
        ["B", "committed"],
        ["B", "cancelled"],
        ["B", "committed"],
        ["B", "confirmed"],
    ]
    assert (node.grubenv.parent / "manageboot.log").stat().st_size == 65536
