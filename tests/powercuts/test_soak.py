"""Nodes that lose their power again and again: what the dice decide, what is counted, and a few rounds."""

import fcntl
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from powercuts import soak, soakcounts, soakplan
from powercuts.cuts import Cut
from powercuts.lives import KINDS, life_of
from powercuts.pending import Pending, Write
from powercuts.powerswitch import PowerSwitch
from powercuts.recording import MANAGEBOOT, Life
from powercuts.replay import BLOCK, Region, Replay
from powercuts.soaknode import Cutting, SoakNode, recording_of
from powercuts.soakplan import PHASES_MAX, Node, Phase, Plan
from qemu_harness.cache import REPOSITORY, Cache
from qemu_harness.writelog import Kind, read_cut_log

SIZES = [4096, 512, 8192, 1024, 4096]
CUTTING = Cutting(
    0, 1, "confirm", False, "9:lost:0-1", 3, 1, ["install", "commit"], 1, ["unconfirmed"], "B", False, 20.0, 31.0, []
)


def test_a_seed_takes_the_same_decisions_each_time():
    def decisions(seed: int) -> list[object]:
        plan = Plan(seed)
        return [
            (plan.draw(phase), plan.next_verb(Node("trial", "")), plan.lose(9, SIZES)) for phase in Phase for _ in "ab"
        ]

    assert decisions(1) == decisions(1)
    assert decisions(1) != decisions(2)


def test_the_decisions_of_a_round_do_not_depend_on_the_rounds_before():
    def decisions(plan: Plan, number: int) -> list[object]:
        plan.begin_round(number)
        return [plan.draw(Phase.COMMIT), plan.next_verb(Node("trial", "")), plan.lose(9, SIZES)]

    one, other = Plan("1 0"), Plan("1 0")
    assert [decisions(one, 1), decisions(one, 2)][1] == decisions(other, 2)
    assert len({str(decisions(one, number)) for number in range(20)}) > 10


@pytest.mark.parametrize("phase", Phase)
def test_the_power_goes_in_each_phase_and_in_none_always(phase: Phase):
    drawn = [Plan(seed).draw(phase) for seed in range(100)]
    assert None in drawn
    assert any(drawn)


def test_no_round_goes_on_for_ever():
    for seed in range(100):
        plan = Plan(seed)
        assert any(plan.draw(Phase.FIRMWARE) for _ in range(PHASES_MAX + 1))


@pytest.mark.parametrize(
    ("node", "verbs"),
    [
        (Node("trial", "confirmed"), {"confirm", "rollback", "reboot"}),
        (Node("pending", "installed"), {"cancel", "reboot"}),
        (Node("idle", "installed"), {"commit"}),
        (Node("idle", "confirmed"), {"install", "rollback"}),
        (Node("idle", "committed"), {"install"}),
        (Node("idle", ""), {"install"}),
    ],
)
def test_a_node_does_all_that_is_right_in_its_state_and_nothing_else(node: Node, verbs: set[str]):
    plan = Plan(1)
    assert {plan.next_verb(node) for _ in range(200)} == verbs


def test_what_is_lost_may_be_anything_but_half_a_super_block():
    plan = Plan(1)
    cuts = [plan.lose(9, SIZES, whole=[2]) for _ in range(500)]
    assert {cut.kind for cut in cuts} == {"reset", "lost", "torn"}
    assert {number for cut in cuts for number in cut.kept or ()} == set(range(len(SIZES)))
    torn = [cut for cut in cuts if cut.torn and cut.kept]
    assert {cut.kept[-1] for cut in torn if cut.kept} == {0, 3, 4}, "1 is a single sector, 2 a super block"
    for cut in torn:
        assert cut.torn and cut.kept
        begin, end = cut.torn
        assert 0 < end - begin < SIZES[cut.kept[-1]] // 512


def test_nothing_is_lost_where_nothing_was_written():
    plan = Plan(1)
    assert {plan.lose(9, []) for _ in range(20)} == {Cut(9, "reset")}


def test_what_a_cut_leaves_stays(tmp_path: Path):
    base = tmp_path / "base.img"
    base.write_bytes(b"o" * 2 * BLOCK)
    with Replay(base, tmp_path / "disk.img", [Region("grub", 0, 2 * BLOCK)], {}) as replay:
        pending = Pending(replay)
        pending.write(Write(0, b"1" * 512))
        pending.flush()
        pending.write(Write(512, b"2" * 1024))
        pending.write(Write(BLOCK, b"3" * 512))
        pending.settle(Cut(9, "torn", (0,), (0, 1)))
        assert replay.read(0, 2048) == b"1" * 512 + b"2" * 512 + b"o" * 1024
        assert replay.read(BLOCK, BLOCK) == b"o" * BLOCK
        assert pending.sizes == []


def test_the_log_of_a_machine_that_was_killed_is_read_to_its_end(tmp_path: Path):
    def entry(sector: int, sectors: int, flags: int, data: bytes = b"") -> bytes:
        return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(512, b"\0") + data

    log = tmp_path / "writes.log"
    # Its super block knows of one request; two were still on their way when QEMU was killed, one of them is the last.
    parts = [struct.pack("<QQQI", 0x6A736677736872, 1, 1, 512).ljust(512, b"\0")]
    parts += [entry(8, 1, 0, b"a" * 512), bytes(1536), entry(0, 0, 1), entry(0, 2, 0, b"b" * 1024), entry(4, 9, 4)]
    log.write_bytes(b"".join([*parts, entry(3, 2, 0, b"c" * 512)]))
    requests = list(read_cut_log(log))
    assert [(one.number, one.kind, one.sector, one.sectors) for one in requests] == [
        (0, Kind.WRITE, 8, 1), (1, Kind.FLUSH, 0, 0), (2, Kind.WRITE, 0, 2), (3, Kind.ZEROS, 4, 9),
    ]  # fmt: skip
    with log.open("rb") as data:
        assert requests[2].data(data) == b"b" * 1024
    log.write_bytes(b"")
    assert list(read_cut_log(log)) == []


def test_the_power_goes_at_its_instant(tmp_path: Path):
    with subprocess.Popen(["sleep", "1000"]) as process:
        with PowerSwitch(process.pid, tmp_path / "none", multiprocessing.Event()) as switch:
            switch.set(0.01)
            assert process.wait(60) == -signal.SIGKILL
        assert switch.is_off
        assert not switch.was_at_write
        assert not switch.was_stopped


def test_the_power_goes_at_a_write(tmp_path: Path):
    log = tmp_path / "writes.log"
    log.write_bytes(bytes(512))
    with subprocess.Popen(["sleep", "1000"]) as process:
        with PowerSwitch(process.pid, log, multiprocessing.Event()) as switch:
            switch.set_at_write(1024)
            log.write_bytes(bytes(1535))
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)
            log.write_bytes(bytes(1536))
            assert process.wait(60) == -signal.SIGKILL
        assert switch.was_at_write


def test_the_end_of_all_takes_the_power_too(tmp_path: Path):
    stop = multiprocessing.Event()
    with subprocess.Popen(["sleep", "1000"]) as process:
        with PowerSwitch(process.pid, tmp_path / "none", stop) as switch:
            stop.set()
            assert process.wait(60) == -signal.SIGKILL
        assert switch.was_stopped


def test_a_node_is_judged_by_the_rules_of_its_life():
    life = Life("guest", "a node", "guestos", Path("disk"), Path("media"), {}, [], "bookworm")
    assert recording_of(life, {}).rules == MANAGEBOOT


def test_all_is_counted():
    brick = Cutting(0, 2, "GRUB", True, "3:reset:all", 0, 0, [], 0, [], "", False, 9.0, 19.0, ["nothing boots"])
    counts = soakcounts.to_json([CUTTING, brick], seed=1, nodes=1, wanted=5, runs=2)
    assert (counts["cuts"], counts["wanted"], counts["cycles"], counts["bricks"]) == (2, 5, 1, 1)
    assert (counts["phases"]["confirm"], counts["phases"]["GRUB"], counts["phases"]["install"]) == (1, 1, 0)
    assert (counts["losses"], counts["with_pending_writes"]) == ({"lost": 1, "reset": 1}, 1)
    assert (counts["fallbacks"], counts["verbs"]) == ({"unconfirmed": 1}, {"commit": 1, "install": 1})
    assert [violation["number"] for violation in counts["violations"]] == [2]
    table = {line[:30].strip(): line.split()[-1] for line in soakcounts.to_table(counts).splitlines()}
    assert (counts["runs"], table["runs"]) == (2, "2")
    assert (table["seconds a cut"], table["of processor time"]) == ("14.5", "25.0")
    assert (table["confirmed upgrades"], table["bricks"], table["unconfirmed"]) == ("1", "1", "1")


def test_two_at_once_do_not_share_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(soak, "life_of", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["soak", "run", "--report", str(tmp_path)])
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert soak.main() == 2
    assert (
        capsys.readouterr().err
        == f"soak: error: another soak uses {tmp_path}; wait for it, or choose another --report\n"
    )


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.grub
@pytest.mark.devices
def test_a_few_cuts_leave_no_brick_and_a_run_that_a_signal_ended_is_gone_on_with(tmp_path: Path):
    paths = f"{REPOSITORY / 'tests'}:{REPOSITORY / 'qemu-harness'}"

    def soaked(cuts: int, *, ended_after: int) -> tuple[list[str], dict[str, Any]]:
        command = [sys.executable, "-m", "powercuts.soak", "run", "--nodes", "1", "--report", tmp_path.name]
        with subprocess.Popen(
            [*command, "--cuts", str(cuts)], stdout=subprocess.PIPE, text=True, cwd=tmp_path.parent,
            env={**os.environ, "PYTHONPATH": paths},
        ) as running:  # fmt: skip
            assert running.stdout
            lines = [running.stdout.readline() for _ in range(ended_after)]
            if ended_after:
                running.send_signal(signal.SIGTERM)
            lines += running.stdout.read().splitlines()
        assert running.returncode == 0, lines
        counts = json.loads((tmp_path / "soak.json").read_text())
        assert (counts["bricks"], counts["violations"]) == (0, [])
        return lines, counts

    lines, first = soaked(500, ended_after=3)
    assert all(" round " in line for line in lines[:3])
    assert 3 <= first["cuts"] < 500
    lines, second = soaked(first["cuts"] + 2, ended_after=0)
    assert lines[0] == f"node 0 goes on after {first['cuts']} cuts"
    assert f" node 0 round {first['cuts'] + 1}:" in lines[1]
    assert (second["cuts"], second["runs"]) == (first["cuts"] + 2, 2)
    assert second["cpu_seconds"] > first["cpu_seconds"] > 0
    # It is complete, so that the same command begins anew.
    assert not (tmp_path / "nodes").exists()
    assert not (tmp_path / "findings").exists()


@pytest.mark.long
@pytest.mark.qemu
@pytest.mark.grub
@pytest.mark.devices
def test_a_finding_is_kept_and_found_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(soakplan.HAZARDS, Phase.FIRMWARE, 1.0)
    life = life_of(Cache.default(), KINDS[soak.KIND])
    with SoakNode(Cache.default(), life, seed=1, node=0, report=tmp_path) as node:
        assert node.cut(multiprocessing.Event()).wrong == []
        # An event that was told, and that the history has not.
        monkeypatch.setattr(node, "_newest_event", 9)
        assert node.cut(multiprocessing.Event()).wrong == ["the history ends with event -1, and 9 was told"]
    assert soak.show(life, tmp_path / "findings" / "seed1-node0-round2") == 1
    assert "slot that boots: A\nthe history ends with event -1, and 9 was told\n" in capsys.readouterr().out
