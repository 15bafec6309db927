"""The events and the catalog that explains them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot.events import journal
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


def test_without_a_descriptor_an_event_is_no_error():
    code = (
        "import resource\n"
        "from manageboot.events import journal\n"
        "from manageboot.protocol import Slot\n"
        "import socket\n"
        "from systemd import journal as _\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))\n"
        "journal.send(journal.Event.COMMITTED, 'lost', slot=Slot.B, version=None, transaction=None, cause=None)\n"
    )
    pytest.importorskip("systemd")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# A mount namespace of its own: the machine's journal stays out of it, and is not bothered.
HANGING_JOURNAL = """
set -e
mount -t tmpfs none /run/systemd
mkdir /run/systemd/journal
exec "$@"
"""

SENDER = """
import socket, sys
from manageboot.events import journal
from manageboot.protocol import Slot
from support.deaf import drain, fill

path = "/run/systemd/journal/socket"
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
    listener.bind(path)
    fill(path)
    journal.log("lost", name="test")
    journal.send(journal.Event.CONFIRMED, "lost", slot=Slot.B, version=None, transaction=None, cause=None)
    drain(listener)
    journal.send(journal.Event.CONFIRMED, "heard", slot=Slot.B, version=None, transaction=None, cause=None)
    sys.stdout.buffer.write(listener.recv(10000, socket.MSG_DONTWAIT))
"""


@pytest.mark.devices
def test_a_journal_that_hangs_keeps_nobody_waiting():
    pytest.importorskip("systemd")
    command = ["unshare", "--mount", "sh", "-c", HANGING_JOURNAL, "-", sys.executable, "-c", SENDER]
    heard = subprocess.run(
        command, cwd=Path(__file__).parents[1], env={"PYTHONPATH": "."}, capture_output=True, check=True, timeout=60
    ).stdout
    assert b"MESSAGE=heard" in heard
    assert b"MESSAGE_ID=" + journal.Event.CONFIRMED.value.encode() in heard


def test_an_event_is_one_line_of_utf8(monkeypatch: pytest.MonkeyPatch):
    from systemd import journal as systemd_journal

    sent = []
    monkeypatch.setattr(systemd_journal, "send", lambda message, **fields: sent.append((message, fields)))
    journal.send(
        journal.Event.HEALTH_WARNING,
        "pr\udcfcfung failed:\n\x1b[2J",
        slot=Slot.B,
        version="1\n2",
        transaction=None,
        cause=None,
    )
    [(message, fields)] = sent
    assert message == r"pr\xfcfung failed: / \x1b[2J"
    assert fields["MANAGEBOOT_VERSION"] == "1 / 2"
