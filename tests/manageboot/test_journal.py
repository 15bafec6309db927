"""The events and the catalog that explains them."""

import re
from pathlib import Path

import pytest

from manageboot import journal
from manageboot.protocol import Slot
from support.loop import run

UNITS = Path(__file__).parents[2] / "systemd-units"


def test_the_catalog_explains_each_event_and_no_other():
    ids = re.findall(r"^-- (\w+)$", (UNITS / "manageboot.catalog").read_text(), re.MULTILINE)
    assert ids == [event.value for event in journal.Event]


def test_journalctl_takes_the_catalog(tmp_path: Path):
    directory = tmp_path / "usr" / "lib" / "systemd" / "catalog"
    directory.mkdir(parents=True)
    (directory / "manageboot.catalog").write_bytes((UNITS / "manageboot.catalog").read_bytes())
    (tmp_path / "var" / "lib" / "systemd" / "catalog").mkdir(parents=True)
    run("journalctl", f"--root={tmp_path}", "--update-catalog")
    listed = run("journalctl", f"--root={tmp_path}", "--list-catalog")
    assert len(listed.splitlines()) == len(journal.Event)
    assert "manageboot: Slot @MANAGEBOOT_SLOT@ boots next, on trial" in listed


def test_an_event_carries_its_fields_and_none_of_the_journals_own(monkeypatch: pytest.MonkeyPatch):
    from systemd import journal as systemd_journal

    sent = []
    monkeypatch.setattr(systemd_journal, "send", lambda message, **fields: sent.append((message, fields)))
    journal.send(
        journal.Event.COMMITTED, "Slot B is committed", slot=Slot.B, version=None, transaction="1f", cause=None
    )
    [(message, fields)] = sent
    assert message == "Slot B is committed"
    assert fields["MESSAGE_ID"] == journal.Event.COMMITTED.value
    assert (fields["MANAGEBOOT_SLOT"], fields["MANAGEBOOT_TRANSACTION"]) == ("B", "1f")
    assert not {"PRIORITY", "LOGGER", "CODE_FILE", "CODE_LINE", "CODE_FUNC"} & set(fields)


def test_without_a_journal_an_event_is_no_error(monkeypatch: pytest.MonkeyPatch):
    from systemd import journal as systemd_journal

    def fail(*_arguments: object, **_fields: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(systemd_journal, "send", fail)
    journal.send(journal.Event.CONFIRMED, "Slot B is confirmed", slot=Slot.B, version="1", transaction=None, cause=None)
