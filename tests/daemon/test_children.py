"""Child processes: their end, their time, their output, and all that they leave behind."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from manageboot.daemon.children import NOT_THERE, Child, Outcome, fork, spawn, within
from manageboot.daemon.steps import Command, Steps, StepsRun
from support.without import run_without

PATIENCE_S = 120.0


def wait_for(child: Child | Outcome, now: Callable[[], float] = lambda: 0.0) -> Outcome:
    """Wait as the daemon's loop does; a child that gives no sign fails the test."""
    if isinstance(child, Outcome):
        return child
    given_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < given_up:
        outcome = child.advance(now())
        if outcome is not None:
            return outcome
        poll = select.poll()
        for descriptor in child.descriptors:
            poll.register(descriptor, select.POLLIN)
        poll.poll(PATIENCE_S * 1000)
    raise AssertionError("the child did not end")


def shell(line: str, ends_s: float = 100.0) -> Child | Outcome:
    return spawn(("/bin/sh", "-c", line), ends_s)


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("status", [0, 1, 127, 255])
def test_the_exit_status_is_told(status: int):
    assert wait_for(shell(f"exit {status}")) == Outcome(status, "")


def test_a_signal_is_told():
    assert wait_for(shell("kill -SEGV $$")) == Outcome(-signal.SIGSEGV, "")


def test_both_outputs_are_kept_and_there_is_no_input():
    assert wait_for(shell("cat; echo err >&2; echo out")) == Outcome(0, "out", "err")


def test_what_is_only_shown_is_in_the_order_in_which_it_was_printed():
    child = spawn(("/bin/sh", "-c", "echo 1; echo 2 >&2; echo 3"), 100.0, mixed=True)
    assert wait_for(child) == Outcome(0, "1\n2\n3")


def test_much_on_stderr_costs_nothing_of_the_answer():
    code = "import sys; print('answer'); sys.stderr.write('x' * 300_000 + 'end')"
    outcome = wait_for(spawn((sys.executable, "-c", code), 100.0))
    assert (outcome.status, outcome.output, outcome.said[-4:]) == (0, "answer", "xend")


def test_the_end_of_a_long_output_is_kept():
    outcome = wait_for(spawn((sys.executable, "-c", "print('x' * 300_000 + 'end')"), 100.0))
    assert outcome.status == 0
    assert outcome.output.endswith("xend")
    assert len(outcome.output) <= 1 << 16


def test_output_that_is_no_text_is_shown_all_the_same():
    assert wait_for(shell(r"printf 'a\377b'")) == Outcome(0, r"a\xffb")


def test_a_program_that_is_not_there_has_an_outcome_too():
    outcome = wait_for(spawn(("/no/such/program",), 100.0))
    assert outcome == Outcome(127, said="cannot start /no/such/program: it is not there")


def test_a_program_that_can_not_run_is_not_one_that_is_not_there(tmp_path: Path):
    (tmp_path / "script").write_text("#!/no/such/shell\n")
    (tmp_path / "script").chmod(0o755)
    outcome = wait_for(spawn((str(tmp_path / "script"),), 100.0))
    assert outcome == Outcome(126, said=f"cannot start {tmp_path}/script: the interpreter that it names is not there")
    assert wait_for(spawn(("echo", "a\0b"), 100.0)) == Outcome(126, said="cannot start echo: embedded null byte")


def test_a_child_ignores_and_blocks_nothing():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        outcome = wait_for(spawn(("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"), 100.0))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGUSR2, before)
    # The C library ignores two of its own, 32 and 33.
    assert [int(mask, 16) & ~(3 << 31) for mask in outcome.output.split()[1::2]] == [0, 0]


EXHAUSTED = """
import os, resource, sys
from manageboot.daemon import children
from manageboot.daemon.children import Child, Outcome

def is_over(started):
    while isinstance(started, Child):
        started = started.advance(0.0) or started
    return started

spared, limit = int(sys.argv[1]), len(os.listdir("/proc/self/fd")) - 1
resource.setrlimit(resource.RLIMIT_NOFILE, (limit + spared, limit + spared))
outcomes = is_over(children.spawn(("true",), 100.0)), is_over(children.fork(lambda: 0, 100.0))
assert all(outcome.lacking == (outcome.status == 126) for outcome in outcomes)
print(*(outcome.status for outcome in outcomes))
print(children.within(5.0, lambda: 0))
"""


@pytest.mark.parametrize(
    ("spared", "said"), [(0, "126 126\nNone"), (1, "126 0\n0"), (3, "126 0\n0"), (4, "126 0\n0"), (5, "0 0\n0")]
)
def test_without_descriptors_nothing_starts_and_nothing_is_raised(spared: int, said: str):
    command = [sys.executable, "-c", EXHAUSTED, str(spared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_when_its_time_is_up_the_whole_group_dies():
    child = shell("sleep 1000 & echo $!; echo $$; wait", ends_s=5.0)
    assert isinstance(child, Child)
    printed = ""
    while printed.count("\n") < 2:
        select.select([child.descriptors[1]], [], [], PATIENCE_S)
        assert child.advance(0.0) is None
        printed = child._pipes[0].text + "\n"
    assert child.wake_s == 5.0
    outcome = wait_for(child, now=lambda: 5.0)
    assert outcome.status is None
    pids = [int(word) for word in outcome.output.split()]
    given_up = time.monotonic() + PATIENCE_S
    while any(is_alive(pid) for pid in pids) and time.monotonic() < given_up:
        time.sleep(0.01)
    assert [is_alive(pid) for pid in pids] == [False, False]


def test_what_it_leaves_behind_is_killed_and_not_waited_for():
    outcome = wait_for(shell("sleep 1000 & echo $!"))
    assert outcome.status == 0
    given_up = time.monotonic() + PATIENCE_S
    while is_alive(int(outcome.output)) and time.monotonic() < given_up:
        time.sleep(0.01)
    assert not is_alive(int(outcome.output))


def test_it_gets_a_small_environment_and_its_own_session(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/secret")
    outcome = wait_for(shell("env | sort; cut -d ' ' -f 6 /proc/$$/stat; echo $$"))
    *variables, session, pid = outcome.output.split()
    assert {line.split("=")[0] for line in variables} <= {"PATH", "LC_ALL", "PWD", "SHLVL", "_"}
    assert session == pid


def test_no_descriptor_of_ours_reaches_it():
    ours = os.open(os.devnull, os.O_RDONLY)
    try:
        assert wait_for(shell(f"test ! -e /proc/$$/fd/{ours}")).status == 0
    finally:
        os.close(ours)


def test_no_descriptor_stays_open():
    before = len(os.listdir("/proc/self/fd"))
    for line in ("exit 0", "echo x", "sleep 1000 &"):
        wait_for(shell(line))
    wait_for(spawn(("/no/such/program",), 100.0))
    wait_for(fork(lambda: 0, 100.0))
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("status", [0, 75])
def test_a_function_runs_in_a_process_of_its_own(status: int):
    mark: list[int] = []

    def function() -> int:
        mark.append(1)
        return status

    assert wait_for(fork(function, 100.0)) == Outcome(status, "")
    assert mark == []


def test_a_function_that_hangs_is_killed():
    child = fork(lambda: signal.pause() or 0, 5.0)
    assert child.advance(4.9) is None
    assert wait_for(child, now=lambda: 5.0) == Outcome(None, "")


def test_one_that_can_not_be_killed_is_left_behind():
    """A process that waits for a broken disk does not die. One that is stopped by a tracer shows the same."""
    child = fork(lambda: signal.pause() or 0, 5.0)
    killed: list[int] = []
    child.kill = lambda: killed.append(1)  # type: ignore[method-assign]  # the kernel's part, which ignores it
    assert child.advance(5.0) is None
    assert child.wake_s == 10.0
    assert child.advance(9.9) is None
    assert child.advance(10.0) == Outcome(None, "")
    assert killed
    os.kill(child._pid, signal.SIGKILL)
    os.waitpid(child._pid, 0)


def test_a_function_is_waited_for_no_longer_than_said():
    assert within(PATIENCE_S, lambda: 3) == 3
    assert within(0.1, sleep_on) is None


def sleep_on() -> int:
    time.sleep(1000)
    return 0


def test_a_descriptor_that_the_child_must_not_have():
    ours, theirs = os.pipe()
    child = fork(sleep_on, 100.0, without=[theirs])
    os.close(theirs)
    # Nobody has the other end any more, so this does not wait.
    assert select.select([ours], [], [], PATIENCE_S)[0]
    assert os.read(ours, 1) == b""
    os.close(ours)
    child.kill()
    assert wait_for(child).status == -signal.SIGKILL


def test_steps_that_are_stopped_leave_no_process():
    def endless() -> Steps:
        yield Command(("/bin/sh", "-c", "sleep 1000"), 1000.0)

    steps = StepsRun(endless())
    before, others = len(os.listdir("/proc/self/fd")), children()
    assert not steps.advance(0.0)
    [child] = children() - others
    steps.stop()
    assert (children() - others, is_alive(int(child)), steps.descriptors) == (set(), False, [])
    assert len(os.listdir("/proc/self/fd")) <= before
    steps.stop()


def children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return set(file.read().split())


def test_one_that_ended_in_its_time_is_not_called_hung_by_a_caller_who_is_late():
    """As the daemon is after a sleep of the whole node, or after it was stopped."""
    child = shell("echo done; exit 3", ends_s=10.0)
    assert isinstance(child, Child)
    select.select(child.descriptors[:1], [], [], PATIENCE_S)
    assert child.advance(1_000_000.0) == Outcome(3, "done")


def test_one_that_runs_when_a_late_caller_comes_gets_its_time_to_die():
    child = shell("sleep 1000", ends_s=10.0)
    assert isinstance(child, Child)
    now_s = 1_000_000.0
    outcome = child.advance(now_s)
    assert outcome is not None or child.wake_s > now_s
    assert (outcome or wait_for(child, lambda: now_s)) == Outcome(None)


@pytest.mark.parametrize("path", [None, ""])
def test_a_program_is_found_though_the_caller_does_not_say_where(monkeypatch: pytest.MonkeyPatch, path: str | None):
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path)
    assert wait_for(spawn(("echo", "found"), 100.0)) == Outcome(0, "found")
    # Nor is it looked for in the directory of the caller.
    assert wait_for(spawn(("there-is-no-such-program",), 100.0)).status == NOT_THERE


def test_a_program_that_may_not_be_run_is_passed_over_where_another_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, mode in {"plain": 0o644, "right": 0o755}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "check").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "check").chmod(mode)
    monkeypatch.setenv("PATH", f"{tmp_path}/plain:{tmp_path}/right")
    assert wait_for(spawn(("check",), 100.0)) == Outcome(0, "right")
    monkeypatch.setenv("PATH", f"{tmp_path}/plain")
    assert wait_for(spawn(("check",), 100.0)) == Outcome(126, "", "cannot start check: it is not executable")


@pytest.mark.devices
def test_a_program_starts_without_dev():
    code = (
        "import os, time; from manageboot.daemon.children import spawn\n"
        "child = spawn(('/bin/sh', '-c', 'cat; echo up'), 100.0)\n"
        "while (end := child.advance(0.0)) is None: time.sleep(0.01)\n"
        "print(end.status, end.output)"
    )
    done = run_without(["/dev"], sys.executable, "-c", code)
    assert done.stdout == "0 up\n", done
