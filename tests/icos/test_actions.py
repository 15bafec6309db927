"""What manageboot.sh writes into the journal, in the way that it did."""

from collections.abc import Iterator

import pytest

from manageboot.icos import actions
from manageboot.system import console


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    from systemd import journal as systemd_journal

    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(
        systemd_journal, "send", lambda line, **fields: sent.append((line, fields["SYSLOG_IDENTIFIER"]))
    )
    yield sent
    console._listeners.clear()


def test_what_is_told_goes_to_the_journal_too(journal: list[tuple[str, str]], capfd: pytest.CaptureFixture[str]):
    actions.log_messages()
    console.tell("manageboot: error: cannot confirm: a cause [CONFLICT]")
    console.show("progress")
    assert journal == [("manageboot: error: cannot confirm: a cause [CONFLICT]", "manageboot.sh")]
    assert capfd.readouterr().err == "manageboot: error: cannot confirm: a cause [CONFLICT]\nprogress"


def test_nothing_is_there_twice_where_the_journal_has_stderr(
    journal: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(console, "is_journal", lambda: True)
    actions.log_messages()
    console.tell("a line")
    assert journal == []
