"""Messages: they reach whoever reads, and hold nobody up who does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot.system import console

PIPE_BYTES = 64 << 10

IMPORT = "from manageboot.system import console"


class Pipe:
    """stderr as a pipe whose other end is ours."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()

    def run(self, code: str) -> None:
        """Run Python with this stderr; it must not get stuck."""
        command = [sys.executable, "-c", f"{IMPORT}\n{code}"]
        subprocess.run(command, stderr=self.write_end, check=True, timeout=30)

    def content(self) -> bytes:
        os.close(self.write_end)
        with os.fdopen(self.read_end, "rb") as file:
            return file.read()


@pytest.fixture
def pipe() -> Pipe:
    return Pipe()


def test_a_message_is_read(pipe: Pipe):
    pipe.run("console.tell('a\\nb'); console.show('c'); console.tell('d')")
    assert pipe.content() == b"a\\x0ab\ncd\n"


def test_a_full_pipe_takes_no_more_and_stops_nobody(pipe: Pipe):
    os.write(pipe.write_end, bytes(PIPE_BYTES))
    pipe.run("console.tell('lost'); console.show('lost')")
    assert pipe.content() == bytes(PIPE_BYTES)


def test_progress_leaves_room_for_the_error(pipe: Pipe):
    pipe.run("for n in range(20_000): console.show('progress ' * 5 + '\\n')\nconsole.tell('the error')")
    content = pipe.content()
    assert PIPE_BYTES // 2 < len(content) < PIPE_BYTES
    assert content.endswith(b"\nthe error\n")


def test_the_pipe_stays_blocking_for_its_other_users(pipe: Pipe):
    pipe.run("console.tell('message')")
    assert os.get_blocking(pipe.write_end)
    pipe.content()


def test_a_broken_pipe_stops_nobody(pipe: Pipe):
    os.close(pipe.read_end)
    pipe.run("console.tell('lost'); console.show('lost')")
    os.close(pipe.write_end)


def test_a_terminal_shows_a_message():
    terminal, ours = os.openpty()
    subprocess.run([sys.executable, "-c", f"{IMPORT}; console.tell('told')"], stderr=ours, check=True)
    assert os.read(terminal, 100) == b"told\r\n"
    assert os.get_blocking(ours)
    os.close(ours)
    os.close(terminal)


def test_a_terminal_that_nobody_reads_stops_nobody():
    # Its room is counted in buffers: it says that there is some for much more than it takes.
    code = f"{IMPORT}\nfor n in range(500): console.show('x' * 99 + '\\n')\nconsole.tell('lost')"
    terminal, ours = os.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=ours, check=True, timeout=30)
    assert os.read(terminal, 101) == b"x" * 99 + b"\r\n"
    os.close(ours)
    os.close(terminal)


def test_a_file_gets_everything(tmp_path: Path):
    code = f"{IMPORT}\nfor n in range(3000): console.show('x' * 99 + '\\n')\nconsole.tell('end')"
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", code], stderr=log, check=True, timeout=30)
    assert (tmp_path / "log").stat().st_size == 3000 * 100 + 4


@pytest.fixture
def heard() -> Iterator[list[str]]:
    lines: list[str] = []
    console.listen(lines.append)
    yield lines
    console._listeners.clear()


def test_a_listener_hears_what_is_told(heard: list[str], capfd: pytest.CaptureFixture[str]):
    console.tell("a\tb")
    console.show("c")
    assert heard == ["a\\x09b"]
    assert capfd.readouterr().err == "a\\x09b\nc"


def test_a_listener_that_fails_costs_nothing_but_what_it_would_have_heard(
    heard: list[str], capfd: pytest.CaptureFixture[str]
):
    def fail(_line: str) -> None:
        raise RuntimeError("a module of the system on trial is broken")

    console._listeners.insert(0, fail)
    console.tell("the slot is confirmed")
    assert heard == ["the slot is confirmed"]
    assert capfd.readouterr().err == "the slot is confirmed\n"
