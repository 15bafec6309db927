"""Signals: the first one ends a run, and those that come with it are not heard of."""

import os
import signal
import subprocess
import sys

import pytest

WAITING = """
import sys, time
from manageboot.system import signals

signals.listen()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("interrupted")
except signals.Terminated:
    print("terminated")
signals.ignore()
"""


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)])
def test_of_signals_that_come_together_one_counts_and_nothing_is_said_of_the_others(numbers: tuple[int, ...]):
    with subprocess.Popen([sys.executable, "-c", WAITING], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        for number in (*numbers, signal.SIGCONT):
            process.send_signal(number)
        said, complaints = process.communicate(timeout=30)
    assert (process.returncode, complaints) == (0, "")
    assert said == ("interrupted\n" if signal.SIGHUP not in numbers else "terminated\n")


FAILING = """
import os, signal, sys
from manageboot.cli import main; from manageboot import errors; from manageboot.system import console, signals

def fail(arguments):
    raise errors.DataError("cannot go on: it is bad")

signals.listen()
console.listen(lambda line: os.kill(os.getpid(), signal.SIGTERM))
sys.exit(main.run([], perform=fail))
"""


def test_a_signal_while_an_error_is_printed_ends_the_run_as_any_other():
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "manageboot: terminated\n")
