"""The benchmark runs, on a tiny image: who has a turn when, what is kept, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.contestant import Command, Contestant, Stage
from bench.payload import SHAPES, make_payload
from bench.rounds import entrants, take_turns
from bench.targets import targets
from support.loop import run

pytestmark = pytest.mark.devices

TESTS = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(TESTS.parent / "qemu-harness")}
PATIENCE_S = 120
TINY = SHAPES["tiny"]
WHO = ["zstd -dc", "direct write of the data", "SHA-256 of the data", "manageboot", "manageboot, a release",
       "manageboot, verify = false", "shell: tar, dd, sync"]  # fmt: skip


def bench(directory: Path, *options: str) -> list[str | Path]:
    return [sys.executable, "-m", "bench", "--quick", "--directory", directory, *options]


def loop_devices_of(directory: Path) -> list[str]:
    files = [Path(file) for file in run("losetup", "--noheadings", "--list", "--output", "BACK-FILE").splitlines()]
    return [str(file) for file in files if file.is_relative_to(directory)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run that came to its end, and what it printed."""
    directory = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        bench(directory), cwd=TESTS, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return directory, done.stdout


def test_each_round_has_one_run_of_each(finished: tuple[Path, str]):
    figures = json.loads((finished[0] / "bench.json").read_text())
    assert [(one["round"], one["name"]) for one in figures["runs"]] == [(n, name) for n in (1, 2) for name in WHO]


def test_the_ratios_are_those_of_the_runs(finished: tuple[Path, str]):
    figures = json.loads((finished[0] / "bench.json").read_text())
    results = {(one["round"], one["name"]): one["result"] for one in figures["runs"]}
    for name, one in zip(WHO, figures["contestants"], strict=True):
        assert one["name"] == name
        for key, base, of in (
            ("of_floor", "zstd -dc", "wall_s"),
            ("of_ours", "manageboot", "wall_s"),
            ("cpu_of_ours", "manageboot", "cpu_s"),
        ):
            ratios = [results[number, name][of] / results[number, base][of] for number in (1, 2)]
            assert one[key] == pytest.approx({"median": sum(ratios) / 2, "least": min(ratios), "most": max(ratios)})


def test_the_table_has_a_line_for_each(finished: tuple[Path, str]):
    _, _, *lines = finished[1].splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == WHO


def test_only_images_and_figures_are_left(finished: tuple[Path, str]):
    directory, _ = finished
    assert {path.name for path in directory.iterdir()} == {"bench.json", "payload-tiny", "targets"}
    assert loop_devices_of(directory) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_no_device_and_no_folder_is_left_when_it_is_ended(tmp_path: Path, number: signal.Signals):
    command = bench(tmp_path, "--rounds", "100000")
    with (
        subprocess.Popen(command, cwd=TESTS, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running,
        ExitStack() as stack,
    ):
        stack.callback(running.kill)
        assert running.stderr is not None
        lines = []
        while not lines or "round 2 of" not in lines[-1]:
            lines.append(running.stderr.readline())
            assert lines[-1], f"it ended by itself: {lines}"
        assert len(loop_devices_of(tmp_path)) == 3
        running.send_signal(number)
        _, said = running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 128 + number
    assert "Traceback" not in said
    deadline = time.monotonic() + PATIENCE_S
    # Whoever was killed may still be on its way out.
    while loop_devices_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert {path.name for path in tmp_path.iterdir()} == {"bench.json", "payload-tiny", "targets"}


def logs(name: str, log: Path) -> Contestant:
    def prepare(stage: Stage) -> Command:
        write = f"dd if={stage.payload.boot} of={stage.targets.boot} bs=1M status=none"
        return ["sh", "-c", f"echo {name} >>{log}; {write}; dd if={stage.payload.root} of={stage.targets.root} bs=1M"]

    return Contestant(name, prepare)


def test_the_commands_run_in_turn(tmp_path: Path):
    log = tmp_path / "log"
    payload = make_payload(tmp_path / "payload", TINY)
    with (
        targets(tmp_path / "targets", TINY, cached=True) as slot,
        entrants([logs("A", log), logs("B", log), logs("C", log)], payload, slot, tmp_path) as ready,
    ):
        runs = list(take_turns(ready, 3, payload, slot, cold=False))
    assert log.read_text().split() == ["A", "B", "C"] * 3
    assert [one.name for one in runs] == ["A", "B", "C"] * 3
    assert all(one.identical for one in runs)


@pytest.mark.parametrize("command", [["true"], ["sh", "-c", "dd if=/dev/zero of=$0 bs=1M count=1"]])
def test_who_writes_something_else_ends_the_benchmark(tmp_path: Path, command: Command):
    payload = make_payload(tmp_path / "payload", TINY)
    with targets(tmp_path / "targets", TINY, cached=True) as slot:
        wrong = Contestant("wrong", lambda _: [*command, slot.root])
        with (
            entrants([wrong], payload, slot, tmp_path) as ready,
            pytest.raises(RuntimeError, match="wrong wrote something else"),
        ):
            list(take_turns(ready, 1, payload, slot, cold=False))
