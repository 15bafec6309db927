"""Long runs: what fails in one place ends nothing but that, and what was found by then is on the disk."""

import json
import multiprocessing
import os
import queue
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest

from powercuts import __main__ as powercuts
from powercuts import realboots, report, soak, soaknode
from powercuts.boots import GrubJudge
from powercuts.campaign import Result, Walk
from powercuts.cuts import Cut
from powercuts.judge import Told, Verdict
from powercuts.pending import Pending, Write
from powercuts.realboots import Sound
from powercuts.recording import MANAGEBOOT, Done, Life, Recording
from powercuts.replay import BLOCK, Region, Replay
from powercuts.soaknode import BEFORE, FINDING, LOG, Cutting, Finding, SoakNode
from powercuts.vouched import Vouched
from qemu_harness import machine
from qemu_harness.cache import Cache
from qemu_harness.layout import GUESTOS
from qemu_harness.process import HarnessError

STEP = Done("commit", "", "A", "A", "A", "", "", "", "", Vouched(), 0, 1)
RESULT = Result("ext4", "a node", "bookworm", 1, 0, 7, {"reset": 1}, {"grub": 1}, [], [STEP], [], booted=[])
TOLD = Told("A", "A", "", -1)
CUTTING = Cutting(
    0, 1, "confirm", False, "9:reset:all", 0, 1, [], 0, [], "B", False, 20.0, 31.0, ["the history is gone"]
)


def test_what_ends_one_life_loses_nothing_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def judge(name: str, *_: int) -> Result:
        if name == "guest":
            raise HarnessError("the node did not come up")
        if name == "host":
            # What a machine without memory does to a process.
            raise RuntimeError("a process was terminated abruptly")
        return RESULT

    monkeypatch.setattr(powercuts, "judge_apart", judge)
    monkeypatch.setattr(report, "_versions", dict)
    assert powercuts.campaign(["guest", "ext4", "host"], 1, 1, 0, tmp_path) == 2
    found = json.loads((tmp_path / "power-cuts.json").read_text())
    assert [one["name"] for one in found["recordings"]] == ["ext4"]
    assert found["missing"] == ["guest", "host"]
    said = capsys.readouterr()
    assert "powercuts: error: guest: the node did not come up\n" in said.err
    assert "nothing is known of" in said.err
    assert "7 distinct states, 0 violations" in said.out
    assert powercuts.campaign(["ext4"], 1, 1, 0, tmp_path) == 0


def test_a_report_is_there_before_the_last_life_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def judge(name: str, *_: int) -> Result:
        if name == "host":
            given_up_s = time.monotonic() + 60
            while "ext4" in json.loads((tmp_path / "power-cuts.json").read_text())["missing"]:
                assert time.monotonic() < given_up_s
                time.sleep(0.01)
        return RESULT._replace(name=name)

    monkeypatch.setattr(powercuts, "judge_apart", judge)
    monkeypatch.setattr(report, "_versions", dict)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert powercuts.campaign(["host", "ext4"], 1, 1, 0, tmp_path) == 0
    assert json.loads((tmp_path / "power-cuts.json").read_text())["missing"] == []


@pytest.fixture
def replay(tmp_path: Path) -> Any:
    (tmp_path / "base.img").write_bytes(bytes(8 * BLOCK))
    regions = [Region("grub", 0, 2 * BLOCK), Region("A_boot", 2 * BLOCK, BLOCK), Region("B_boot", 3 * BLOCK, BLOCK)]
    with Replay(tmp_path / "base.img", tmp_path / "disk.img", regions, {}) as made:
        yield made


def test_what_grub_wrote_before_it_failed_is_taken_back(
    replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def start(self: GrubJudge) -> None:
        with replay.path.open("r+b") as file:
            file.write(b"half a block")
        raise AssertionError("grub-emu did not end")

    monkeypatch.setattr(GrubJudge, "_start", start)
    before = replay.fingerprint()
    with pytest.raises(AssertionError, match="did not end"):
        GrubJudge(replay, tmp_path / "grub").boot()
    assert replay.fingerprint() == before
    assert not any(replay.path.read_bytes())


def test_a_state_that_no_judge_could_judge_is_a_violation(replay: Replay, tmp_path: Path):
    class Fails:
        def judge(self, told: Told) -> Verdict:
            raise AssertionError(f"grub-emu ended with -11, and {told.may_boot} may boot")

    recording = Recording("guest", "", tmp_path, "", GUESTOS, {}, {}, [STEP], [], MANAGEBOOT)
    # Of a judge it is asked for no more than that.
    walk: Any = Walk(recording, seed=1, samples=1)
    walk.replay, walk.judge = replay, Fails()
    walk._pending = Pending(replay)
    for number in range(20):
        walk._pending.write(Write(number * 512, b"x" * 512))
        walk._ask(Cut(0, "reset"), STEP)
    assert [violation.wrong for violation in walk._violations] == [
        ["it could not be judged: AssertionError('grub-emu ended with -11, and A may boot')"]
    ] * 20
    # A machine on which nothing works is no finding.
    walk._pending.write(Write(20 * 512, b"x" * 512))
    with pytest.raises(AssertionError):
        walk._ask(Cut(0, "reset"), STEP)


def test_a_node_that_answers_nonsense_is_unhealthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nonsense(*_: object) -> list[str]:
        raise json.JSONDecodeError("Expecting value", "", 0)

    class Up:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...
        def wait_until_up(self) -> None: ...

    monkeypatch.setattr(realboots, "VirtualMachine", Up)
    monkeypatch.setattr(realboots, "unlike", nonsense)
    state = Sound(Cut(1, "reset"), "commit")
    [wrong] = realboots.boot(Cache(tmp_path), tmp_path, state, Verdict("A", False, ()), ()).wrong
    assert "JSONDecodeError" in wrong


class FailsAt:
    """A node whose machine fails in its second round."""

    begun: ClassVar[list[int]] = []

    runs = 1

    def __init__(self, *_: object, before: "FailsAt | None", **__: object) -> None:
        self.number = before.number if before else 0
        self.cuttings = before.cuttings if before else []
        self.begun.append(self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def cut(self, _: object) -> Cutting:
        self.number += 1
        if self.number == 2:
            raise HarnessError("cannot connect to QEMU's monitor")
        self.cuttings.append(CUTTING)
        return CUTTING


def test_a_node_that_failed_begins_anew_and_lives_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(soak, "SoakNode", FailsAt)
    monkeypatch.setattr(soak, "_SIGNALS", ())
    # Nothing but `put` is asked of it, and what was put can be looked at.
    messages: Any = queue.Queue()
    life = Life("guest", "a node", "guestos", Path("disk"), Path("media"), {}, [], "bookworm")
    soak._live(life, 1, 0, 5, tmp_path, multiprocessing.Event(), messages)
    told = list(messages.queue)
    assert told.count(CUTTING) == 5
    [trouble] = [one for one in told if isinstance(one, str)]
    assert trouble.startswith("node 0, round 2: ")
    assert FailsAt.begun == [0, 2]


def test_the_disk_is_kept_of_few_findings_and_the_words_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    base = tmp_path / BEFORE
    base.write_bytes(b"d" * BLOCK)
    (tmp_path / LOG).write_bytes(b"l")
    life = Life("guest", "a node", "guestos", base, Path("media"), {}, [], "bookworm")
    node = SoakNode(Cache(tmp_path), life, seed=1, node=0, report=tmp_path)
    node._home, node._base = tmp_path, base
    for number in range(soaknode.KEPT_MAX + 2):
        node.number = number
        node._keep(Finding(1, CUTTING, TOLD, "9:reset:all", []))
    assert len([*tmp_path.glob(f"findings/*/{FINDING}")]) == soaknode.KEPT_MAX + 2
    assert len([*tmp_path.glob(f"findings/*/{BEFORE}")]) == soaknode.KEPT_MAX
    # Where there is no room, the words are kept all the same.
    node = SoakNode(Cache(tmp_path), life, seed=2, node=0, report=tmp_path)
    node._home, node._base = tmp_path, base
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=soaknode.ROOM_LEFT))
    node._keep(Finding(2, CUTTING, TOLD, "9:reset:all", []))
    assert [path.name for path in tmp_path.glob("findings/seed2-*/*")] == [FINDING]


def test_counts_are_written_at_each_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    def live(life: Life, seed: int, node: int, share: int, place: Path, stop: object, messages: Any) -> None:
        messages.put(CUTTING)
        given_up_s = time.monotonic() + 60
        while not json.loads((place / "soak.json").read_text())["cuts"]:
            assert time.monotonic() < given_up_s
            time.sleep(0.01)

    monkeypatch.setattr(soak, "_live", live)
    life = Life("guest", "a node", "guestos", Path("disk"), Path("media"), {}, [], "bookworm")
    assert soak.soak(life, 1, 1, 1, tmp_path) == 1
    # Its words are not there: the node could not even write them. What was counted is told all the same.
    assert "the history is gone" in capsys.readouterr().out


def test_the_logs_of_a_machine_that_may_still_run_stay(tmp_path: Path):
    for _ in range(machine.LOGS_KEPT + 5):
        machine._new_log_directory(tmp_path)
    assert len([*tmp_path.iterdir()]) == machine.LOGS_KEPT + 5
    for old in tmp_path.iterdir():
        os.utime(old, (0, 0))
    machine._new_log_directory(tmp_path)
    assert len([*tmp_path.iterdir()]) == machine.LOGS_KEPT + 1
