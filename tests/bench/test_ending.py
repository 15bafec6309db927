"""How a signal ends a benchmark: it kills the command that runs, and lets a step of its own come to its end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 60
TESTS = Path(__file__).parents[1]

COMMAND = """
import os, sys
from bench.command import output
from support.ending import listen
listen()
output(["sh", "-c", 'exec >"$0"; echo started; exec sleep 1000', sys.argv[1]], env=os.environ)
"""
STEPS = """
import sys
from support.ending import end_if_asked, listen
listen()
print("started", flush=True)
sys.stdin.read()
print("the step is over", flush=True)
end_if_asked()
print("and goes on", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name)
def test_a_command_is_killed_at_once(tmp_path: Path, number: signal.Signals):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    command = [sys.executable, "-c", COMMAND, pipe]
    with (
        subprocess.Popen(command, cwd=TESTS, stderr=subprocess.PIPE, text=True) as running,
        pipe.open() as of_the_command,
    ):
        assert of_the_command.readline() == "started\n"
        running.send_signal(number)
        _, said = running.communicate(timeout=PATIENCE_S)
        # The pipe is at its end when the command is gone.
        assert of_the_command.read() == ""
    assert running.returncode == 128 + number
    assert "Traceback" not in said


def test_a_step_comes_to_its_end():
    with subprocess.Popen(
        [sys.executable, "-c", STEPS], cwd=TESTS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "started\n"
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=PATIENCE_S)
    assert (running.returncode, said) == (143, "the step is over\n")
