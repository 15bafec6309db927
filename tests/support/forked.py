"""Runs of our programs that start in a hundredth of the time: forks of a process that has imported them already.

Most of what a short run takes is the import of libraries, and the tests start thousands. A forked run is a process of
its own as any other: with the arguments, environment, directory, umask, standard files and ignored signals of its
caller, the signals and the end of a Python program, and no other descriptor. `architecture/test_forked.py` compares.

It can't show what goes wrong while Python starts or imports, what depends on the seed of hashes, or what is left to
those who take the objects apart at the end. `cli/test_started.py` starts each verb truly, and so do all tests that give
a command line to another program, kill it, or look on while it runs.
"""

import atexit
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

_SERVER = Path(__file__).with_name("forkserver.py")
_FOR_A_RUN = ("PATH", "PYTEST_CURRENT_TEST", "MANAGEBOOT_DEBUG", "NOTIFY_SOCKET")
"""Environment variables that nothing reads while it is imported. Where another one differs, a program is started."""
_ENVIRONMENT = dict(os.environ)
"""That of the server: of the time before any test changes it."""


def run(
    command: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[Any] | None = None,
    timeout: float = 120,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """Do what subprocess.run does with a command line `python -m PROGRAM ...`, and capture what it prints.

    A program may also be a file that this Python is to run. With options beside these it is started.
    """
    environment = dict(os.environ if env is None else env)
    if options or _of_the_start(environment) != _server().start:
        options |= {"cwd": cwd, "env": env, "stdin": stdin, "timeout": timeout}
        return subprocess.run(command, check=False, capture_output=True, text=True, **options)
    request = {
        "command": list(command),
        # The same file may have another name in the server, where this process was started by a relative path.
        "is_module": list(command[:2]) == [sys.executable, "-m"],
        "directory": os.path.abspath(cwd or "."),
        "environment": environment,
        "umask": _umask(),
        "ignored": _ignored_signals(),
        "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }
    with open(os.devnull, "rb") as nothing:
        given = {None: 0, subprocess.DEVNULL: nothing}.get(stdin, stdin)
        status, out, err = _server().fork(request, given if isinstance(given, int) else given.fileno(), timeout)
    return subprocess.CompletedProcess(command, status, out, err)


class _Server:
    def __init__(self) -> None:
        self.start = _of_the_start(_ENVIRONMENT)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, _SERVER, str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, env=_ENVIRONMENT, pass_fds=[theirs.fileno()]
            )

    def end(self) -> None:
        self._control.close()
        self._process.wait()

    def fork(self, request: dict[str, Any], stdin: int, timeout_s: float) -> tuple[int, str, str]:
        """Let it fork for a request; return exit status, stdout and stderr when the run has ended."""
        report, theirs = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        with report, open(out, "rb", buffering=0), open(err, "rb", buffering=0):
            with theirs, open(out_end, "wb"), open(err_end, "wb"):
                descriptors = [stdin, out_end, err_end, theirs.fileno()]
                socket.send_fds(self._control, [json.dumps(request).encode()], descriptors)
            told = {report.fileno(): b"", out: b"", err: b""}
            _read_all(told, request["command"], timeout_s)
            status = told[report.fileno()]
        assert status, "the server that forks has died"
        return int(status), _text(told[out]), _text(told[err])


def _read_all(told: dict[int, bytes], command: Sequence[str], timeout_s: float) -> None:
    """Read from each descriptor to its end."""
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as selector:
        for descriptor in told:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                read = os.read(key.fd, 1 << 16)
                told[key.fd] += read
                if not read:
                    selector.unregister(key.fd)
            if selector.get_map() and time.monotonic() > deadline:
                # Our end of the report is closed then, and the server kills the run.
                raise subprocess.TimeoutExpired(command, timeout_s, *list(told.values())[1:])


@cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.end)
    return server


def _of_the_start(environment: Mapping[str, str]) -> tuple[object, ...]:
    """What a program has from its caller, and a fork has from the server."""
    variables = {name: value for name, value in environment.items() if name not in _FOR_A_RUN}
    return os.geteuid(), os.getegid(), variables


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _ignored_signals() -> list[int]:
    """The signals that a program which we start would ignore from its start."""
    restored = {signal.SIGPIPE, signal.SIGXFSZ}
    return [number for number in signal.valid_signals() - restored if signal.getsignal(number) is signal.SIG_IGN]


def _text(output: bytes) -> str:
    return io.TextIOWrapper(io.BytesIO(output)).read()
