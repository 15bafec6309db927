"""A selection of the faults that `python -m install.crash` goes through one by one."""

import subprocess
from collections.abc import Iterator
from math import gcd
from pathlib import Path

import pytest

from install.cases import Case, all_cases, count_events, run_case
from install.crashnode import CrashNode, crash_node
from install.faultydisk import MODES
from install.kills import kill_many
from support.images import MIB

pytestmark = pytest.mark.devices

SELECTED = 9


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrashNode]:
    with crash_node(tmp_path_factory.mktemp("crash")) as made:
        yield made


def test_the_order_on_the_disks(node: CrashNode):
    """Record void, head of boot gone, data, flush, var, head of boot, record."""
    events = count_events(node)
    disks = [event.split()[1] for event in events]
    first_data = events.index("write root")
    voided = events.index("write boot")
    assert set(disks[:voided]) == {"record"}
    assert events[voided - 1] == "flush record"
    assert events[voided : voided + 2] == ["write boot", "flush boot"]
    wiped = events.index("write var")
    assert voided < first_data < wiped
    assert set(events[first_data:wiped]) >= {"flush root", "flush boot"}
    published = len(events) - 1 - events[::-1].index("write boot")
    assert events[published - 1 : published + 2] == ["flush var", "write boot", "flush boot"]
    assert set(disks[published + 2 :]) == {"record"}
    assert events[-1] == "flush record"


def test_faults_leave_a_void_slot_or_a_complete_one(node: CrashNode):
    cases = all_cases(len(count_events(node)))
    # A stride that has nothing in common with the number of modes meets all of them, however many events there are.
    stride = len(cases) // SELECTED
    while gcd(stride, len(MODES)) > 1:
        stride -= 1
    selected = cases[::stride]
    assert len({case.mode for case in selected}) >= 5
    outcomes = {run_case(node, case) for case in selected}
    assert "void" in outcomes


def test_a_device_that_lies_is_found_out(node: CrashNode):
    events = count_events(node)
    node.reset()
    with node.record_mounted():
        node.plan(event=events.index("write root") + 3, mode="lie")
        done = node.install()
    assert done.returncode == 74
    assert f"cannot write {node.node.devices['B']['root']} at " in done.stderr
    assert "expected " in done.stderr
    assert ", read back " in done.stderr


def test_the_last_flush_decides(node: CrashNode):
    """Power that goes after the last event finds a complete slot, whatever the disks still had in their caches."""
    last = len(count_events(node))
    assert run_case(node, Case(last, "lost")) == "complete"


def test_kills_leave_a_void_slot_or_a_complete_one(tmp_path: Path):
    counts = kill_many(tmp_path, 3, seed=1, root_size=32 * MIB)
    assert counts["void"] + counts["complete"] == 3


def test_a_failing_device_ends_it_though_the_input_waits(node: CrashNode):
    events = count_events(node)
    node.reset()
    with node.record_mounted():
        node.plan(event=events.index("write root") + 1, mode="eio")
        command = node.node.command("upgrade-install", "-")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as installing:
            assert installing.stdin is not None
            assert installing.stderr is not None
            # Dense, so that there is more of it than is read ahead. All but the end; the pipe stays open.
            names = ["boot.img", "root.img"]
            tar = subprocess.run(["tar", "-c", "-C", node.update.parent, *names], check=True, stdout=-1).stdout
            installing.stdin.write(tar[:-600])
            installing.stdin.flush()
            assert installing.wait(60) == 74
            assert b"to " + node.node.devices["B"]["root"].encode() + b" at " in installing.stderr.read()
