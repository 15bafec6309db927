"""docs/operations.md: every event is explained there, and what it says of them is what a node says."""

import re
from pathlib import Path

import pytest

from manageboot import config
from manageboot.boot import fallback
from manageboot.boot.markers import TrialMarker
from manageboot.boot.node import observe
from manageboot.config import Config
from manageboot.daemon import jobs
from manageboot.daemon.health import CheckResult, Result
from manageboot.events import events, history, metrics
from manageboot.events.history import Entry
from manageboot.events.journal import Event
from manageboot.fetch.mirrors import Traffic
from support.images import make_update
from support.node import LoopNode

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SECTIONS = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
TRAFFIC = Traffic("http://mirror/", 1, 1, 1, 1, "FETCH_GONE", is_out=False)
UPDATE = metrics.Update(["failed"], "failed", "IO_ERROR", 1, 1, 1, 1, 1)
ROWS = ("journal", "status", "metrics", "what to do")


def table(heading: str) -> dict[str, str]:
    """The rows of the first table behind a piece of text, by what stands between backquotes in the first column."""
    lines = TEXT[TEXT.index(heading) :].split("\n\n| ", 1)[1].split("\n\n", 1)[0].splitlines()
    return dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", "\n".join(lines[1:]), re.MULTILINE))


def test_every_event_has_a_section_and_every_section_is_an_event():
    ids = {name: re.findall("`MESSAGE_ID=(.*)`", text) for name, text in SECTIONS.items()}
    assert ids == {event.name.lower(): [event.value] for event in Event}
    assert list(SECTIONS) == [event.name.lower() for event in Event]


@pytest.mark.parametrize("event", [event.name.lower() for event in Event])
def test_a_section_says_where_it_is_seen_and_what_to_do(event: str):
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", SECTIONS[event], re.MULTILINE))
    assert tuple(rows) == ROWS
    assert not re.match(r"[|\s]", SECTIONS[event].lstrip("\n"))


def test_every_cause_of_a_fallback_is_explained():
    assert list(table("## The causes of a fallback")) == [cause.value for cause in fallback.Cause]


def test_every_metric_is_listed():
    all_there_is = [Entry("2026-11-24T18:54:25+00:00", "installed", "B", "m", seconds=1, written_bytes=1)]
    all_there_is += [Entry("2026-11-24T18:54:25+00:00", "confirmed", "B", "m", seconds=1)]
    there = [
        *metrics.of_node(None),
        *metrics.of_history(all_there_is),
        *metrics.of_update(UPDATE),
        *metrics.of_fetch([TRAFFIC]),
        metrics.of_devices([("A", "root")], []),
    ]
    listed = table("**The metrics.**")
    assert list(listed) == [metric.name for metric in there]
    for metric in there:
        labels = [label for label, _ in next(iter(metric.values))]
        assert re.findall("`(\\w+)`", listed[metric.name].split(" | ")[0]) == labels


def test_every_field_of_the_history_is_named():
    paragraph = TEXT[TEXT.index("**The history.**") : TEXT.index("| system |")]
    assert not [field for field in Entry._fields if f"`{field}`" not in paragraph]


def documented(event: str) -> list[str]:
    """How the message of an event begins, in the words of the documentation."""
    [row] = re.findall(r"^\| journal \| (.*) \|$", SECTIONS[event], re.MULTILINE)
    return [plain(text) for text in re.findall("`([^`]+)`", row)]


def plain(message: str) -> str:
    return re.sub("version .*", "version", re.sub("[Ss]lot [AB]", "slot", message))


@pytest.mark.devices
def test_a_node_says_what_is_documented(node: LoopNode, tmp_path: Path):
    update = make_update(tmp_path / "update")
    (tmp_path / "bad.tar").write_bytes(update.read_bytes()[: update.stat().st_size // 2])
    loaded: Config = config.load(str(node.config))
    node.run("upgrade-install", tmp_path / "bad.tar")
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.ok("upgrade-cancel")
    node.ok("upgrade-cancel")
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    assert [node.boot(), node.boot()] == ["B", "A"]
    seen = observe(loaded)
    fell_back = fallback.detect(seen)
    assert fell_back is not None
    events.announce_fallback(loaded, seen, fell_back)
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.boot()
    node.ok("confirm")
    node.ok("rollback", "--no-reboot")
    happened = history.read(loaded).entries
    assert {entry.event for entry in happened} == {
        *("install_failed", "installed", "committed", "cancelled", "fallback", "confirmed", "rolled_back")
    }
    for entry in happened:
        assert plain(entry.message).startswith(tuple(documented(entry.event))), entry


@pytest.mark.devices
def test_a_daemon_says_what_is_documented(node: LoopNode):
    loaded: Config = config.load(str(node.config))
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.set_booted("B")
    jobs.arrive(loaded)
    jobs.abort_trial(TrialMarker.DEADLINE, "not confirmed 900 s after the boot")(loaded)
    jobs.abort_trial(TrialMarker.UNHEALTHY, "required/dns failed: no answer")(loaded)
    jobs.tell_overdue(loaded)
    jobs.tell_devices({"slots.A.root": "it is gone"}, {"slots.A.root": "it is gone"})(loaded)
    jobs.tell_health([CheckResult("wanted/dns", required=False, result=Result.HUNG, text="no answer")])(loaded)
    node.grubenv.write_bytes(b"garbage".ljust(1024))
    jobs.tell_damaged(loaded)
    happened = history.read(loaded).entries
    assert {entry.event for entry in happened} == {
        *("trial_started", "not_acknowledged", "deadline", "health_failed", "rolled_back", "reboot_missing"),
        *("device_lost", "health_warning", "block_damaged"),
    }
    # These two begin with what they are about.
    documented_ones = [entry for entry in happened if entry.event not in {"device_lost", "health_warning"}]
    for entry in documented_ones:
        assert any(plain(entry.message).startswith(text.split("/")[0]) for text in documented(entry.event)), entry
