"""The benchmark of deltas runs, on a tiny pair: who has a turn when, what is counted, and what is left."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench.delta.pairs import MIB, PAIRS, make_pair
from bench.delta.table import Run, table
from bench.delta.web import served
from support.loop import run

TESTS = Path(__file__).parents[1]
PATIENCE_S = 300
ARCHIVE, FULL, DELTA = "manageboot, archive", "manageboot, full", "manageboot, delta"
WHO = [ARCHIVE, FULL, DELTA]


def a_run(number: int, name: str, seconds: float, fetched: int) -> Run:
    return Run(number, name, seconds, seconds / 2, 50, 0, fetched, 7)


def test_bytes_are_those_of_the_archive_and_times_those_of_the_same_round():
    runs = [
        *(a_run(1, ARCHIVE, 4, 100 * MIB), a_run(1, FULL, 2, 120 * MIB), a_run(1, DELTA, 1, 10 * MIB)),
        *(a_run(2, ARCHIVE, 9, 100 * MIB), a_run(2, FULL, 8, 120 * MIB), a_run(2, DELTA, 2, 10 * MIB)),
    ]
    head, line, *rows = table(runs, FULL, ARCHIVE).splitlines()
    assert line.count("|") == head.count("|") == 11
    assert rows[2] == (
        "| manageboot, delta | 10.0 | 10.0 % | 7 | 1.50 | 0.75 | 50 | 0 | 0.38 (0.25 to 0.50) | 0.38 (0.25 to 0.50) |"
    )


def test_of_what_ran_in_a_guest_only_bytes_and_requests_are_told():
    runs = [a_run(1, ARCHIVE, 4, 100 * MIB), a_run(1, FULL, 2, 120 * MIB)]
    runs.append(Run(1, "RAUC, adaptive", None, None, None, None, 40 * MIB, 999))
    assert table(runs, FULL, ARCHIVE).splitlines()[-1] == "| RAUC, adaptive | 40.0 | 40.0 % | 999 |  |  |  |  |  |  |"


def test_both_states_of_a_pair_have_the_same_size_and_are_made_once(tmp_path: Path):
    first = make_pair(tmp_path / "pair", PAIRS["tiny"])
    stamps = [(path.stat().st_ino, path.stat().st_mtime_ns) for path in first]
    assert first.old.stat().st_size == first.new.stat().st_size
    assert first.old.read_bytes() != first.new.read_bytes()
    again = make_pair(tmp_path / "pair", PAIRS["tiny"])
    assert [(path.stat().st_ino, path.stat().st_mtime_ns) for path in again] == stamps


@pytest.mark.long
@pytest.mark.devices
def test_the_server_counts_and_a_slow_line_is_one_for_all_connections(tmp_path: Path):
    www, work = tmp_path / "www", tmp_path / "work"
    www.mkdir()
    work.mkdir()
    (www / "file").write_bytes(b"x" * 300_000)
    with served(www, work, 400_000) as web:
        began_s = time.monotonic()
        fetch = ["curl", "--silent", "--fail", "--output", "/dev/null", f"{web.url}file"]
        threads = [threading.Thread(target=run, args=fetch) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began_s > 600_000 / 400_000 * 0.9
    assert [300_000 < size < 301_000 for size in web.requests] == [True, True]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run of two rounds and a slow one says, and what it left."""
    directory = tmp_path_factory.mktemp("bench")
    options = ["--pair", "tiny", "--rounds", "2", "--level", "3", "--warm", "--only", "manageboot"]
    command = [sys.executable, "-m", "bench.delta", *options, "--directory", directory]
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent / "qemu-harness")}
    done = subprocess.run(
        command, cwd=TESTS, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    left = {path.name for path in directory.iterdir()}
    return {**json.loads((directory / "delta-tiny.json").read_text()), "left": left, "said": done.stdout}


@pytest.mark.long
@pytest.mark.devices
def test_each_round_has_one_run_of_each(finished: dict[str, Any]):
    turns = [[one["round"], one["name"]] for one in finished["at full speed"]]
    assert turns == [[number, name] for number in (1, 2) for name in WHO]
    assert [one["name"] for one in finished["at 20 Mbit/s"]] == WHO


@pytest.mark.long
@pytest.mark.devices
def test_a_delta_fetches_less_and_no_way_fetches_less_than_it_needs(finished: dict[str, Any]):
    fetched = {one["name"]: one["fetched"] for one in finished["at full speed"]}
    assert fetched[DELTA] < MIB < 6 * MIB < min(fetched[FULL], fetched[ARCHIVE])
    assert all(0 < one["requests"] <= 10 for one in finished["at full speed"])


@pytest.mark.long
@pytest.mark.devices
def test_pairs_releases_and_figures_are_left(finished: dict[str, Any]):
    assert finished["left"] == {"delta-tiny.json", "pair-tiny", "published-tiny-3"}
    assert finished["said"].count(f"| {DELTA} |") == 2
