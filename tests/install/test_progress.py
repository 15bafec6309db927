"""What a running installation shows, on stderr and to other processes."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from manageboot.install import progressfile
from support.images import MIB, make_update
from support.loop import run
from support.node import LoopNode

PATIENCE_S = 120


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


def wait_for(what):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def started(node: LoopNode, update: Path):
    """An installation that waits for the rest of its input."""
    with subprocess.Popen(
        node.command("upgrade-install", "-"), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(update.read_bytes()[:-1000])
        process.stdin.flush()
        yield process
        if process.poll() is None:
            process.kill()


@pytest.mark.devices
def test_another_process_sees_how_far_it_is(node: LoopNode, started: subprocess.Popen[bytes]):
    def far_enough() -> dict[str, Any] | None:
        progress = node.status()["progress"]
        return progress if progress and progress["bytes_verified"] + progress["bytes_written"] else None

    progress = wait_for(far_enough)
    assert (progress["phase"], progress["state"], progress["bytes_total"]) == ("write", "running", None)
    assert progress["bytes_done"] > 0
    assert "upgrade-install: write, " in node.ok("status")
    started.terminate()
    started.wait(PATIENCE_S)
    assert node.status()["progress"] is None
    assert not (node.lock.parent / "progress.json").exists()


@pytest.mark.devices
def test_what_a_killed_installation_leaves_is_not_shown(node: LoopNode, started: subprocess.Popen[bytes]):
    file = node.lock.parent / "progress.json"
    wait_for(file.exists)
    started.kill()
    started.wait(PATIENCE_S)
    assert file.exists()
    assert node.status()["progress"] is None


@pytest.mark.devices
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_named_in_the_record(node: LoopNode, started: subprocess.Popen[bytes], number: int, status: int):
    wait_for(lambda: node.status()["running"])
    wait_for(lambda: node.record("B") == "installing")
    started.send_signal(number)
    assert started.wait(PATIENCE_S) == status
    failure = node.status()["slots"]["B"]["record"]["failure"]
    assert re.fullmatch("it was interrupted after [0-9]+ bytes were written", failure)
    # A new one gets the lock at once.
    assert node.status()["running"] is None


@pytest.mark.devices
def test_an_interrupted_installation_is_resumed_and_says_so(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    whole = node.run("upgrade-install", update, "--skip-identical", "--progress", "json")
    assert whole.returncode == 0
    assert "MiB of data were there already" in whole.stderr
    lines = [json.loads(text) for text in whole.stderr.splitlines() if text.startswith("{")]
    line = next(line for line in lines if (line["phase"], line["state"]) == ("write", "done"))
    # Only the window with the header of boot is written again.
    assert line["bytes_written"] < MIB < line["bytes_kept"]
    # An installation that was not interrupted writes everything.
    plain = node.run("upgrade-install", update)
    assert "were there already" not in plain.stderr
    entry = json.loads((node.state / "record.json").read_text())
    entry["slots"]["B"]["state"] = "installing"
    (node.state / "record.json").write_text(json.dumps(entry))
    resumed = node.run("upgrade-install", update)
    assert "MiB of data were there already" in resumed.stderr


@pytest.mark.devices
def test_a_bar_that_cant_be_drawn_stops_nothing(node: LoopNode, update: Path):
    # tqdm takes its settings from the environment as well.
    node.ok("upgrade-install", update, "--progress", "bar", env={**os.environ, "TQDM_MININTERVAL": "no number"})


@pytest.mark.devices
def test_the_journal_gets_a_line_for_each_step(node: LoopNode, update: Path, tmp_path: Path):
    log = tmp_path / "journal"
    with log.open("wb") as journal:
        status = os.fstat(journal.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        command = node.command("upgrade-install", update)
        subprocess.run(command, check=True, stderr=journal, env=environment, timeout=PATIENCE_S)
    lines = log.read_text().splitlines()
    assert [line.split(" after ")[0] for line in lines[:-1]] == ["manageboot: write done", "manageboot: publish done"]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"phase": "write"}', '{"pid": 8, "phase": "write"}'])
def test_a_file_that_is_not_of_the_holder_is_ignored(tmp_path: Path, content: str):
    (tmp_path / "progress.json").write_text(content)
    assert progressfile.read(str(tmp_path), "7 upgrade-install") is None


def test_a_progress_that_cant_be_shown_stops_nothing(tmp_path: Path):
    with progressfile.shown(str(tmp_path / "missing")) as file:
        file.update({"phase": "write"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.devices
def test_progress_as_json_lines(node: LoopNode, update: Path):
    done = node.run("upgrade-install", update, "--progress", "json")
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    shown = [json.loads(line) for line in lines]
    assert (shown[0]["phase"], shown[0]["state"], shown[0]["bytes_done"]) == ("write", "running", 0)
    done_writing = next(line for line in shown if (line["phase"], line["state"]) == ("write", "done"))
    assert done_writing["bytes_done"] == done_writing["bytes_total"] == update.stat().st_size
    assert done_writing["bytes_verified"] > done_writing["bytes_written"] > 0 == done_writing["bytes_kept"]
    assert (shown[-1]["phase"], shown[-1]["state"]) == ("publish", "done")


@pytest.mark.devices
def test_progress_bar_on_a_terminal(node: LoopNode, update: Path):
    # A terminal that does not know its width, as a serial console.
    command = " ".join(node.command("upgrade-install", update))
    shown = run("script", "--quiet", "--return", "--command", command, "/dev/null")
    assert "write  : 100%" in shown
    assert node.record("B") == "installed"


@pytest.mark.devices
@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-"])
@pytest.mark.parametrize("style", ["bar", "json", "auto"])
def test_nobody_looking_at_the_progress_is_no_obstacle(node: LoopNode, update: Path, style: str, where: str):
    command = shlex.join(node.command("upgrade-install", update, "--progress", style))
    done = subprocess.run(["sh", "-c", f"{command} {where}"], check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")
