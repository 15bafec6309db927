"""External commands: what they get, and what their failures look like."""

import pytest

from manageboot import errors, process


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
