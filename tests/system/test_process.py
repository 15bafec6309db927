"""External commands: what they get, and what their failures look like."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.system import process


def run(*command: str) -> str:
    return process.run(command, failure=errors.RebootError, doing="reboot", hint="do it by hand")


def test_output_is_returned():
    assert run("printf", "%s-%s", "a b", "c") == "a b-c"


def test_no_shell_is_involved():
    assert run("echo", "$HOME", "`id`", ";", "*") == "$HOME `id` ; *\n"


def test_the_command_has_neither_terminal_nor_stdin():
    assert run("sh", "-c", "test -t 0 || test -t 1 || echo none; cat") == "none\n"


def test_the_environment_is_minimal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "1")
    assert "SECRET" not in run("env")
    assert "PATH=" in run("env")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("there-is-no-such-program",), "cannot reboot: there is no program there-is-no-such-program"),
        (("sh", "-c", "exit 3"), "cannot reboot: `sh -c 'exit 3'` exited with 3"),
        (
            ("sh", "-c", "echo first >&2; echo last >&2; exit 1"),
            "cannot reboot: `sh -c 'echo first >&2; echo last >&2; exit 1'` exited with 1: last",
        ),
    ],
)
def test_a_failure_names_the_command_and_its_cause(command: tuple[str, ...], said: str):
    with pytest.raises(errors.RebootError) as caught:
        run(*command)
    assert (str(caught.value), caught.value.hint) == (said, "do it by hand")


def test_a_long_stderr_is_not_cut():
    with pytest.raises(errors.RebootError, match=r"x{5000}$"):
        run("sh", "-c", "printf 'x%.0s' $(seq 5000) >&2; exit 1")


def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "_TIMEOUT_S", 0.2)
    with pytest.raises(errors.RebootError, match=r"cannot reboot: `sleep 60` took more than 0\.2 s"):
        run("sleep", "60")


def test_output_that_is_no_text_is_no_failure():
    assert run("sh", "-c", r"printf 'going down \377'") == r"going down \xff"
    with pytest.raises(errors.RebootError, match=r"exited with 4: no \\xff$"):
        run("sh", "-c", r"printf 'no \377' >&2; exit 4")


def test_one_that_a_signal_ends_has_no_exit_status():
    with pytest.raises(errors.RebootError, match=r"`sh -c 'kill -9 ..'` was ended by signal 9$"):
        run("sh", "-c", "kill -9 $$")


def run_without_the_library(directory: Path, *command: str, timeout_s: float = 60) -> tuple[str, float]:
    """Run a command where sh can't be loaded; return what was returned or raised, and how long it took."""
    (directory / "sh.py").write_text("raise ImportError('made up')\n")
    code = (
        "import sys, time; from manageboot import errors; from manageboot.system import process\n"
        "began_s = time.monotonic()\n"
        f"try: print(process.run(sys.argv[1:], failure=errors.RebootError, doing='reboot', timeout_s={timeout_s}))\n"
        "except errors.RebootError as error: print(error)\n"
        "print(time.monotonic() - began_s)"
    )
    variables = {**os.environ, "PYTHONPATH": f"{directory}:{Path(process.__file__).parents[2]}"}
    argv = [sys.executable, "-c", code, *command]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=variables, timeout=120)
    *said, seconds = done.stdout.splitlines()
    return "\n".join(said).strip(), float(seconds)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("printf 'a \\377'; cat", r"a \xff"),
        ("echo first >&2; echo last >&2; exit 3", "exited with 3: last"),
        ("kill -9 $$", "was ended by signal 9"),
        ("pwd; echo ${SECRET-none}", "/\nnone"),
    ],
)
def test_a_command_runs_without_the_library_that_runs_it(tmp_path: Path, command: str, said: str):
    found, _ = run_without_the_library(tmp_path, "sh", "-c", command)
    assert found.removeprefix("cannot reboot: ").replace(f"`sh -c '{command}'` ", "") == said


def test_without_the_library_its_limits_hold_too(tmp_path: Path):
    said, _ = run_without_the_library(tmp_path, "sleep", "1000", timeout_s=0.2)
    assert said == "cannot reboot: `sleep 1000` took more than 0.2 s"
    said, _ = run_without_the_library(tmp_path, "/no/such/program")
    assert said == "cannot reboot: `/no/such/program` does not start: it is not there"
    # What it leaves behind holds its output open, and is not waited for.
    said, seconds = run_without_the_library(tmp_path, "sh", "-c", "sleep 100 & echo $!")
    os.kill(int(said), signal.SIGKILL)
    assert seconds < 60


def put(path: Path, content: str, mode: int = 0o755) -> str:
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_what_keeps_a_program_from_starting_is_named(tmp_path: Path):
    (tmp_path / "link").symlink_to("nowhere")
    for program, cause in {
        put(tmp_path / "plain", "echo hi\n"): "neither a program of this machine nor a script that begins with #!",
        put(tmp_path / "script", "#!/no/such/shell\n"): "does not start: the interpreter that it names is not there",
        put(tmp_path / "mode", "#!/bin/sh\n", 0o644): "is not executable",
        str(tmp_path): "is a directory",
        str(tmp_path / "link"): "is a link that leads nowhere",
        "/no/such/program": "there is no program /no/such/program",
        "a\0b": "there is a NUL in it",
    }.items():
        with pytest.raises(errors.RebootError) as caught:
            run(program)
        assert str(caught.value).startswith("cannot reboot: "), program
        assert str(caught.value).endswith(cause), program


def test_one_that_is_being_written_is_named(tmp_path: Path):
    program = put(tmp_path / "busy", "")
    with open(program, "wb") as file, open("/bin/true", "rb") as true:
        file.write(true.read())
        file.flush()
        with pytest.raises(errors.RebootError, match=r"does not start: somebody is writing it$"):
            run(program)


@pytest.mark.parametrize("argument", ["\ud800", "\udcff"])
def test_an_argument_that_is_no_text_is_a_failure_of_ours(argument: str):
    with pytest.raises(errors.RebootError, match="surrogates not allowed"):
        run("echo", argument)


@pytest.fixture
def elsewhere() -> Iterator[None]:
    directory = os.getcwd()
    yield
    os.chdir(directory)


def test_a_directory_that_is_gone_does_not_matter(tmp_path: Path, elsewhere: None):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run("pwd") == "/\n"


def test_signals_that_this_process_ignores_or_blocks_end_a_command():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        masks = run("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status").split()[1::2]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGTERM, before)
    # Two more are the C library's own: nobody can set them, and they stay as whoever started the tests left them.
    settable = sum(1 << number - 1 for number in signal.valid_signals())
    assert [int(mask, 16) & settable for mask in masks] == [0, 0]


def test_the_log_has_nothing_of_the_library(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        run("true")
    assert caplog.records == []


@pytest.mark.devices
def test_a_command_runs_where_there_is_no_proc():
    """As in a rescue system: nobody can tell there which descriptors are open."""
    code = (
        "from manageboot import errors; from manageboot.system import process\n"
        "print(process.run(['echo', 'hi'], failure=errors.RebootError, doing='reboot'))"
    )
    script = 'mount -t tmpfs none /proc; exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "-", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "hi", "")
