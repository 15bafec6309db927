"""A selection of the faults that `python -m install.crash` goes through one by one."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from install.cases import count_events, run_case
from install.crashnode import CrashNode, crash_node
from install.kills import kill_many
from support.campaign import Case
from support.faultydisk import MODES
from support.images import MIB

pytestmark = pytest.mark.devices

SELECTED = 9


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashNode]:
    with crash_node(tmp_path_factory.mktemp("crash")) as made:
        yield made


def test_the_order_on_the_disks(node: CrashNode):
    """Record void, header of boot gone, data, flush, var, header of boot, record."""
    events = count_events(node)
    # Whoever syncs all file systems of the machine adds events of the record's, at any instant.
    slot = [event for event in events if not event.endswith(" record")]
    assert slot[:2] == ["write boot", "flush boot"]
    first_data, wiped = slot.index("write root"), slot.index("write var")
    assert first_data < wiped
    assert set(slot[first_data:wiped]) >= {"flush root", "flush boot"}
    assert slot[-3:] == ["flush var", "write boot", "flush boot"]
    voided, published = events.index("write boot"), last(events, "write boot")
    for part in (events[:voided], events[published:]):
        assert part.index("write record") < last(part, "flush record")


def last(events: list[str], event: str) -> int:
    return len(events) - 1 - events[::-1].index(event)


def test_faults_leave_a_void_slot_or_a_complete_one(node: CrashNode):
    events = len(count_events(node))
    # Early and late ones, and each mode.
    selected = [Case(1 + number * events // SELECTED, MODES[number % len(MODES)]) for number in range(SELECTED)]
    outcomes = {run_case(node, case) for case in selected}
    assert "void" in outcomes


@pytest.mark.long
def test_faults_while_a_delta_is_installed_leave_a_void_slot_or_a_complete_one(tmp_path: Path):
    with crash_node(tmp_path / "crash", by_delta=True) as node:
        events = len(count_events(node))
        selected = [Case(1 + number * events // SELECTED, MODES[number % len(MODES)]) for number in range(SELECTED)]
        outcomes = {run_case(node, case) for case in selected}
    assert "void" in outcomes


def test_a_device_that_lies_is_found_out(node: CrashNode):
    node.reset()
    with node.record_mounted():
        node.plan(name="write root", event=4, mode="lie")
        done = node.install()
    assert done.returncode == 74
    assert f"cannot write {node.node.devices['B']['root']} at " in done.stderr
    assert "expected " in done.stderr
    assert ", read back " in done.stderr


def test_the_last_flush_decides(node: CrashNode):
    """Power that goes after the installation finds a complete slot, whatever the disks still had in their caches."""
    assert run_case(node, Case(None, "lost")) == "complete"


def test_kills_leave_a_void_slot_or_a_complete_one(tmp_path: Path):
    counts = kill_many(tmp_path, 3, seed=1, root_size=32 * MIB)
    assert counts["void"] + counts["complete"] == 3


def test_a_failing_device_ends_it_though_the_input_waits(node: CrashNode):
    node.reset()
    with node.record_mounted():
        node.plan(name="write root", event=1, mode="eio")
        command = node.node.command("upgrade-install", "-")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as installing:
            assert installing.stdin is not None
            assert installing.stderr is not None
            # Dense, so that there is more of it than is read ahead. All but the end; the pipe stays open.
            names = ["boot.img", "root.img"]
            tar = subprocess.run(["tar", "-c", "-C", node.update.parent, *names], check=True, stdout=-1).stdout
            with suppress(BrokenPipeError):  # it may be at its end before it has read all of that
                installing.stdin.write(tar[:-600])
                installing.stdin.flush()
            assert installing.wait(60) == 74
            assert b"to " + node.node.devices["B"]["root"].encode() + b" at " in installing.stderr.read()
