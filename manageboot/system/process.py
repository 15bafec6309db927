"""External commands: they are run with `sh`, and nothing but this module imports it.

Four places can't use it:

- The daemon (`daemon.children`): `sh` waits for each command in a thread, and gives no descriptor to wait at. The
  daemon's loop waits for many children at once, and forks, which a process with threads must not do.
- A command while `sh` can't be loaded, as with a broken library in a trial: the node has to go down all the same, so
  `run` falls back to `subprocess`.
- The process that fetches (`fetch.process`): it is asked and heard through pipes for as long as it lives.
- A program that this process becomes (`system.inherited`, `icos.privilege`): that is `exec`, and nothing is run.
"""

import errno
import os
import re
import shlex
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from manageboot import errors
from manageboot.system import console, text

_TIMEOUT_S = 60
_ENVIRONMENT = ("LANG", "LC_ALL", "DBUS_SYSTEM_BUS_ADDRESS")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the caller's environment does not say: it may be empty."""


def search_path() -> str:
    """Return where programs are looked for."""
    return os.environ.get("PATH") or _PATH


def shell_line(command: Sequence[str]) -> str:
    """Write a command as it can be pasted into a shell, on one line whatever is in it."""
    return " ".join(map(_quoted, command))


def _quoted(word: str) -> str:
    if text.one_line(word) == word:
        return shlex.quote(word)
    content = word.encode("utf-8", "surrogateescape")
    # Between $' and ' a shell reads bytes that can't be shown.
    shown = (rf"\x{byte:02x}" if byte in b"'\\" or not 32 <= byte < 127 else chr(byte) for byte in content)
    return f"$'{''.join(shown)}'"


def prepare() -> None:
    """Load what `run` needs while the disk that it lies on still answers."""
    import logging

    import sh  # noqa: F401 - it is loaded for `run`

    # It tells of each process that it starts, and ends.
    logging.getLogger("sh").setLevel(logging.WARNING)


def run(
    command: Sequence[str],
    *,
    failure: type[errors.ManagebootError],
    doing: str,
    hint: str | None = None,
    timeout_s: float | None = None,
) -> str:
    """Run a command and return what it printed on stdout, bytes that are no UTF-8 as \\xNN.

    The command has no terminal and no stdin, a minimal environment, `/` as its directory, and 60 s.

    Args:
        command: program and arguments; no shell is involved.
        failure: the error to raise.
        doing: the first half of that error's sentence, such as "reboot".
        hint: what to do about it.
        timeout_s: how long it may take, if not 60 s.

    Raises:
        The class in `failure`: the program can't be started, exits with another status than 0, or takes too long, or
        whatever else goes wrong. The message has the command line as it could be pasted, and the end of its stderr.
    """
    line = shlex.join(command)
    if "\0" in line:
        raise failure(f"cannot {doing}: `{line}` can't be a command: there is a NUL in it", hint=hint)
    with _shown(command, doing):
        return _run(command, line, failure=failure, doing=doing, hint=hint, timeout_s=timeout_s)


@contextmanager
def _shown(command: Sequence[str], doing: str) -> Iterator[None]:
    """Let `--debug` show a command, and when and how it ended."""
    if not console.debug:
        yield
        return
    console.debug("run: %s", shell_line(command))
    began_s = time.monotonic()
    ended = f"`{shlex.join(command)}` was not waited for"
    try:
        yield
        ended = f"`{shlex.join(command)}` exited with 0"
    except errors.ManagebootError as error:
        ended = str(error).removeprefix(f"cannot {doing}: ")
        raise
    finally:
        console.debug("ended after %.3f s: %s", time.monotonic() - began_s, ended)


def _run(
    command: Sequence[str],
    line: str,
    *,
    failure: type[errors.ManagebootError],
    doing: str,
    hint: str | None,
    timeout_s: float | None,
) -> str:
    path = search_path()
    limit_s = _TIMEOUT_S if timeout_s is None else timeout_s
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"PATH": path}
    try:
        # Imported here: it costs 90 ms, and no query runs a command.
        prepare()
        import sh
    except Exception:  # noqa: BLE001  whatever a system on trial has in its place, it has to go down
        return _run_without(command, environment, limit_s, failure=failure, doing=doing, hint=hint)
    options: dict[str, Any] = {
        "_in": "",
        "_tty_out": False,
        "_truncate_exc": False,
        "_timeout": limit_s,
        "_env": environment,
        # That of the caller may be gone. And to find out which descriptors to close it would need /proc, while all of
        # ours close by themselves.
        "_cwd": "/",
        "_close_fds": False,
        "_encoding": "utf-8",
        "_decode_errors": "backslashreplace",
        "_preexec_fn": _answer_signals,
    }
    try:
        said = sh.Command(command[0], search_paths=path.split(":"))(*command[1:], **options)
        # Newer versions return the text itself.
        return said if isinstance(said, str) else text.decode(said.stdout)
    except sh.CommandNotFound as error:
        raise failure(f"cannot {doing}: {_missing(command[0], path)}", hint=hint) from error
    except sh.TimeoutException as error:
        raise failure(f"cannot {doing}: `{line}` took more than {limit_s} s", hint=hint) from error
    except sh.ErrorReturnCode as error:
        raise failure(f"cannot {doing}: `{line}` {_end(error.exit_code, error.stderr)}", hint=hint) from error
    except sh.ForkException as error:
        # It has the traceback of the child, whose last line is the error.
        raise failure(f"cannot {doing}: `{line}` does not start: {_last(str(error), command[0])}", hint=hint) from error
    except OSError as error:
        raise failure(f"cannot {doing}: `{line}` does not start: {why_not(error, command[0])}", hint=hint) from error
    except Exception as error:  # a thread that can't be started, or whatever that library meets
        raise failure(f"cannot {doing}: `{line}` does not start: {error}", hint=hint) from error


def _run_without(
    command: Sequence[str],
    environment: Mapping[str, str],
    limit_s: float,
    *,
    failure: type[errors.ManagebootError],
    doing: str,
    hint: str | None,
) -> str:
    """Do what `run` does, where the library for it can't be loaded."""
    import subprocess

    line = shlex.join(command)
    try:
        # No pipes: what the command leaves behind may hold them for ever.
        with open(os.memfd_create("stdout"), "w+b") as stdout, open(os.memfd_create("stderr"), "w+b") as stderr:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                timeout=limit_s,
                check=False,
                env=environment,
                cwd="/",
                start_new_session=True,
                preexec_fn=_answer_signals,
            )
            for file in (stdout, stderr):
                file.seek(0)
            said, complained = stdout.read(), stderr.read()
    except subprocess.TimeoutExpired as error:
        raise failure(f"cannot {doing}: `{line}` took more than {limit_s} s", hint=hint) from error
    except OSError as error:
        raise failure(f"cannot {doing}: `{line}` does not start: {why_not(error, command[0])}", hint=hint) from error
    if done.returncode != 0:
        raise failure(f"cannot {doing}: `{line}` {_end(done.returncode, complained)}", hint=hint)
    return text.decode(said)


def _end(status: int, complained: bytes) -> str:
    """Say how a command ended that did not succeed, with the end of its stderr."""
    end = f"exited with {status}" if status >= 0 else f"was ended by signal {-status}"
    lines = text.decode(complained).strip().splitlines()
    return f"{end}: {lines[-1]}" if lines else end


def why_not(error: OSError, program: str) -> str:
    """Say why a program does not start, in words that name what to mend.

    Args:
        error: what the kernel answered.
        program: the path of the program, or its name.
    """
    match error.errno:
        case errno.ENOEXEC:
            return "it is neither a program of this machine nor a script that begins with #!"
        case errno.ENOENT if "/" in program and os.path.exists(program):
            return "the interpreter that it names is not there"
        case errno.ENOENT:
            return "it is not there"
        case errno.EACCES if os.path.isdir(program):
            return "it is a directory"
        case errno.EACCES:
            return "it is not executable"
        case errno.ETXTBSY:
            return "somebody is writing it"
    return error.strerror or str(error)


def _missing(program: str, path: str) -> str:
    """Say why a program was not found."""
    if "/" not in program:
        names = [os.path.join(directory, program) for directory in path.split(":")]
        program = next(filter(os.path.exists, names), program)
    if not os.path.lexists(program):
        return f"there is no program {program}"
    kind = "a directory" if os.path.isdir(program) else "not executable"
    return f"{program} is {kind if os.path.exists(program) else 'a link that leads nowhere'}"


def _last(traceback: str, program: str) -> str:
    """Say what ended the child before it became the program, from its traceback."""
    cause = (traceback.strip().splitlines() or ["no cause is known"])[-1]
    number = re.search(r"\[Errno (\d+)\]", cause)
    return cause.strip() if number is None else why_not(OSError(int(number[1]), os.strerror(int(number[1]))), program)


def _answer_signals() -> None:
    """Let a command end at a signal though this process ignores it, and what it leaves behind with it."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
