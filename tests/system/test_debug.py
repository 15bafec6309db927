"""What --debug shows: one line each, to whoever reads it, and without a word of harm to the work."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from manageboot.system.process import shell_line

START = "from manageboot.system import console, debug; debug.begin()\n"
LINE = r"manageboot: debug: \d+\.\d{6} "
PIPE_BYTES = 64 << 10


def shown(code: str, stderr: int, **environment: str) -> None:
    """Run Python that has something to show on this stderr; it has to come to its end."""
    command = [sys.executable, "-c", START + code]
    subprocess.run(command, stderr=stderr, check=True, timeout=60, env={**os.environ, **environment})


def lines_of(tmp_path: Path, code: str) -> list[str]:
    with (tmp_path / "stderr").open("wb") as file:
        shown(code, file.fileno())
    return (tmp_path / "stderr").read_text().splitlines()


def test_the_first_line_has_the_time_and_the_command(tmp_path: Path):
    first, second = lines_of(tmp_path, "console.debug('write %s at %d', '/dev/vda8', 4096); debug.begin()")
    clock = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00"
    assert re.match(f"{LINE}{clock}, manageboot [\\d.]+, process \\d+ of user \\d+: ", first)
    assert first.partition(" of user ")[2].partition(": ")[2].startswith(shell_line([sys.executable, "-c"]))
    assert re.fullmatch(LINE + "write /dev/vda8 at 4096", second)


def test_each_is_one_line_whatever_is_in_it(tmp_path: Path):
    *_, last = lines_of(tmp_path, r"console.debug('open %s', 'a\nb\x1b[1m\udcff')")
    assert re.fullmatch(LINE + re.escape(r"open a\x0ab\x1b[1m\xff"), last)


def test_what_has_names_is_shown_with_what_there_is(tmp_path: Path):
    code = """
from manageboot.boot.cmdline import GrubParameters
from manageboot.protocol import FACTORY, Transition
console.debug("%s; %s", Transition(FACTORY, False, True), Transition(None, False, False))
console.debug("%s", GrubParameters("A", try_="1"))
"""
    told = [line.split(" ", 3)[3] for line in lines_of(tmp_path, code)[1:]]
    assert told == ["block=(alternative=A cycle=stable left=0) warns=True; nothing", "slot=A try=1"]


@pytest.mark.parametrize("code", ["console.debug('%s')", "console.debug('%d', 'x')", "console.debug('%s', Bad())"])
def test_what_cannot_be_shown_fails_nothing(tmp_path: Path, code: str):
    bad = "class Bad:\n    def __str__(self): raise ZeroDivisionError\n"
    *_, last = lines_of(tmp_path, f"{bad}{code}\nconsole.debug('the work goes on')")
    assert last.endswith(" the work goes on")


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting_and_room_for_messages():
    read_end, write_end = os.pipe()
    shown("for number in range(9999): console.debug('%s', 'x' * 99)\nconsole.tell('the error')", write_end)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        content = file.read()
    assert PIPE_BYTES // 2 < len(content) < PIPE_BYTES
    assert content.endswith(b"\nthe error\n")


def test_what_was_lost_is_counted():
    read_end, write_end = os.pipe()
    code = f"for number in range(999): console.debug('%s', 'x' * 99)\nos.read({read_end}, {PIPE_BYTES})\n"
    command = [sys.executable, "-c", f"import os\n{START}{code}console.debug('there is room again')"]
    subprocess.run(command, stderr=write_end, pass_fds=[read_end], check=True, timeout=60)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        counted, last = file.read().splitlines()
    assert re.fullmatch(LINE + r"\d+ lines are lost here: nobody read them in time", counted)
    assert re.fullmatch(LINE + "there is room again", last)


def test_a_reader_who_is_only_slow_gets_every_line():
    # On a busy machine it may get no time for longer than a line waits.
    code = "debug._PATIENCE_S = 60\nfor number in range(2000): console.debug('line %d', number)"
    command = [sys.executable, "-c", START + code]
    slow = "import sys, time\nfor line in sys.stdin: print(line, end=''); time.sleep(0.0001)"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as writing:
        read = subprocess.run([sys.executable, "-c", slow], stdin=writing.stderr, capture_output=True, check=True)
    assert re.findall(r"line (\d+)\n", read.stdout.decode()) == [str(number) for number in range(2000)]


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full", "2> >(exec 2>&-)"])
def test_nowhere_to_show_it_fails_nothing(where: str):
    script = f'{sys.executable} -c "$CODE" {where}; echo $?'
    code = f"from manageboot.system import inherited; inherited.set_right()\n{START}console.debug('x' * 99)"
    done = subprocess.run(
        ["bash", "-c", script], check=True, capture_output=True, text=True, timeout=60, env={**os.environ, "CODE": code}
    )
    assert done.stdout == "0\n"


def test_the_journal_gets_it_with_the_priority_debug():
    read_end, write_end = os.pipe()
    status = os.fstat(write_end)
    shown("console.debug('what is done')", write_end, JOURNAL_STREAM=f"{status.st_dev}:{status.st_ino}")
    os.close(write_end)
    with os.fdopen(read_end) as file:
        assert re.fullmatch(r"<7>debug: \d+\.\d{6} what is done", file.read().splitlines()[-1])


def test_a_failed_command_is_shown_with_its_status(tmp_path: Path):
    code = """
from manageboot import errors
from manageboot.system import process
for command in (["sh", "-c", "exit 0"], ["sh", "-c", "echo gone >&2; exit 3"], ["/nothing"]):
    try:
        process.run(command, failure=errors.RebootError, doing="reboot")
    except errors.RebootError:
        pass
"""
    told = [line.split(" ", 3)[3] for line in lines_of(tmp_path, code)[1:]]
    assert told[::2] == ["run: sh -c 'exit 0'", "run: sh -c 'echo gone >&2; exit 3'", "run: /nothing"]
    ends = [re.sub(r"after \d+\.\d{3} s", "after S", line) for line in told[1::2]]
    assert ends == [
        "ended after S: `sh -c 'exit 0'` exited with 0",
        "ended after S: `sh -c 'echo gone >&2; exit 3'` exited with 3: gone",
        "ended after S: there is no program /nothing",
    ]


@pytest.mark.parametrize(
    "words",
    [["a b", "$HOME", "it's", ""], ["line\nbreak", "\x1b[1m", "tab\t"], ["\\", "\n\\'", "é\n", "\u2028"], ["\udcff\n"]],
)
def test_a_command_can_be_pasted_as_it_is_shown(words: list[str]):
    line = shell_line([sys.executable, "-c", "import os, sys; print(list(map(os.fsencode, sys.argv[1:])))", *words])
    assert "\n" not in line
    assert "\x1b" not in line
    done = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"{[os.fsencode(word) for word in words]}\n"
