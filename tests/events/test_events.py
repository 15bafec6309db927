"""Events: each is told once, in the journal and in the history, and none can fail what it tells of."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import fallback
from manageboot.boot.node import observe
from manageboot.config import Config
from manageboot.events import events, history, journal
from manageboot.events.events import Event
from manageboot.events.history import Entry
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
    assert re.match("(the event is not in the history|history and metrics may be behind): cannot ", record.getMessage())


def test_a_file_name_that_is_no_text_is_told_of_too(settings: Config, told: list[tuple[Event, str]]):
    events.announce(settings, Event.INSTALL_FAILED, "Slot B is void: cannot open \udcff\n", slot=Slot.B)
    assert history.read(settings).entries[0].message == "Slot B is void: cannot open \udcff\n"


def test_many_at_once_lose_nothing(settings: Config):
    code = """if True:
        import sys
        from manageboot import config
        from manageboot.events import events
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


def fallbacks(settings: Config) -> list[tuple[str, str | None]]:
    return [(entry.slot, entry.cause) for entry in history.read(settings).entries if entry.event == "fallback"]


def find_fallback(node: LoopNode) -> None:
    """Do what verbs and daemon do at a boot."""
    loaded = config.load(str(node.config))
    seen = observe(loaded)
    fell_back = fallback.detect(seen)
    assert fell_back is not None
    events.announce_fallback(loaded, seen, fell_back)


@pytest.mark.devices
@pytest.mark.parametrize("script", ["shipped", "stock"])
def test_a_fallback_is_told_once(node: LoopNode, tmp_path: Path, told: list[tuple[Event, str]], script: str):
    def fall_back() -> None:
        if script == "stock":
            assert [node.boot(), node.boot()] == ["B", "A"]
            return
        node.set_block(boot_alternative="A", boot_cycle="stable", mb_ack=node.block()["mb_nonce"], mb_fallback="x")

    if script == "shipped":
        node.cmdline.write_text("dfinity.system=A manageboot.slot=A\n")
    for number in (1, 2):
        node.ok("upgrade-install", make_update(tmp_path / f"update{number}"))
        node.ok("upgrade-commit", "--no-reboot")
        fall_back()
        # At this boot, at the next one, and after somebody confirmed the old slot.
        find_fallback(node)
        find_fallback(node)
        node.ok("confirm")
        find_fallback(node)
        assert [event for event, _ in told] == [Event.FALLBACK] * number
    cause = {"stock": "unknown", "shipped": "died-before-userspace"}[script]
    assert fallbacks(config.load(str(node.config))) == [("B", cause)] * 2


@pytest.mark.devices
def test_two_that_find_a_fallback_tell_it_once(node: LoopNode, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    node.ok("upgrade-commit", "--no-reboot")
    assert [node.boot(), node.boot()] == ["B", "A"]
    code = """if True:
        import sys
        from manageboot import config
        from manageboot.boot import fallback
        from manageboot.events import events
        from manageboot.boot.node import observe
        loaded = config.load(sys.argv[1])
        seen = observe(loaded)
        events.announce_fallback(loaded, seen, fallback.detect(seen))
    """
    runs = [subprocess.Popen([sys.executable, "-c", code, node.config], stderr=subprocess.PIPE) for _ in range(6)]
    assert [run.communicate()[1] and run.returncode for run in runs] == [b""] * 6
    assert len(fallbacks(config.load(str(node.config)))) == 1


def fell_back(commit: str | None, slot: str = "B") -> Entry:
    return Entry("t", "fallback", slot, "m", commit=commit)


def happened(event: str, slot: str = "B") -> Entry:
    return Entry("t", event, slot, "m")


@pytest.mark.parametrize(
    ("before", "known"),
    [
        ([], False),
        ([fell_back("1")], True),
        ([fell_back("1"), happened("device_lost"), happened("committed", "A")], True),
        ([fell_back("0")], False),
        ([fell_back("1", "A")], False),
        # The commit before last had the same name, or none.
        ([fell_back("1"), happened("committed")], False),
        ([fell_back("1"), happened("rolled_back")], False),
    ],
)
def test_which_fallback_is_known(before: list[Entry], known: bool):
    assert events.is_announced(fell_back("1"), before) is known
    nameless = [entry._replace(commit=None) if entry.commit == "1" else entry for entry in before]
    assert events.is_announced(fell_back(None), nameless) is known


@pytest.mark.parametrize(
    ("installed", "running", "expected"), [("2", "2", "1f"), ("2", "3", None), ("2", None, None), (None, "2", None)]
)
def test_a_slot_without_a_record_is_told_of_by_its_transaction(
    settings: Config, told: list[tuple[Event, str]], installed: str | None, running: str | None, expected: str | None
):
    events.announce(settings, Event.INSTALLED, "m", slot=Slot.B, version=installed, transaction="1f")
    events.announce(settings, Event.INSTALLED, "m", slot=Slot.A, version=running, transaction="0e")
    events.announce(settings, Event.CONFIRMED, "m", slot=Slot.B, version=running)
    assert history.read(settings).entries[-1].transaction == expected


@pytest.mark.devices
@pytest.mark.parametrize("verb", ["upgrade-install", "rollback", "bootloader install"])
def test_without_a_daemon_the_next_verb_tells_of_a_fallback(node: LoopNode, tmp_path: Path, verb: str):
    (node.grubenv.parent / "grub.cfg").write_text("# another script\n")
    update = make_update(tmp_path / "update")
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    assert [node.boot(), node.boot()] == ["B", "A"]
    for _ in range(2):
        node.run(*verb.split(), *([update] if verb == "upgrade-install" else []))
    assert fallbacks(config.load(str(node.config))) == [("B", "unknown")]


def test_what_repeats_does_not_push_out_what_led_to_it(settings: Config, told: list[tuple[Event, str]]):
    events.announce(settings, Event.FALLBACK, "Slot B did not stay", slot=Slot.B)
    long = "slots.A.root: it is gone " * 40
    for message in ("slots.B.root: it is gone", long) * 3:
        events.announce(settings, Event.DEVICE_LOST, message, slot=Slot.B)
    assert len(told) == 7
    assert [entry.event for entry in history.read(settings).entries] == ["fallback", "device_lost", "device_lost"]


def test_an_installation_that_fails_twice_is_told_of_twice(settings: Config, told: list[tuple[Event, str]]):
    for _ in range(2):
        events.announce(settings, Event.INSTALL_FAILED, "Slot B is void: no space", slot=Slot.B)
    assert len(history.read(settings).entries) == 2
