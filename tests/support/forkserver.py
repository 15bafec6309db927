"""The server behind `forked`: it has imported the programs, and forks once for each run. No test imports it.

It has one thread and no descriptors but those of its sockets, and runs nothing of the programs itself. A run
is killed when its caller is gone, and so are all when the process is that asks for them.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NamedTuple

PROGRAMS = ("grubenv", "manageboot")
NOT_ON_A_NODE = ("manageboot.manual", "manageboot.publish")
"""The latter takes numpy, which brings threads."""
LIBRARIES = ("construct", "sh", "pyudev", "systemd.journal", "tqdm", "prometheus_client", "zstandard", "isal.igzip")
"""What the programs import where they use it."""
SET_BY_PYTHON = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGPIPE: signal.SIG_IGN,
    signal.SIGXFSZ: signal.SIG_IGN,
}
UNCHANGEABLE = {signal.SIGKILL, signal.SIGSTOP}
_REQUEST_MAX = 1 << 20


class Run(NamedTuple):
    """A run that goes on. Its exit status goes to the socket `report`; the descriptor `ended` tells when."""

    pid: int
    report: int
    ended: int


def load() -> None:
    """Import what the programs consist of and use, but nothing that is run."""
    for name in LIBRARIES:
        importlib.import_module(name)
    for name in PROGRAMS:
        _load_all_of(importlib.import_module(name).__path__, f"{name}.")
    # No run looks for garbage in what is there already.
    gc.collect()
    gc.freeze()


def _load_all_of(path: Iterable[str], prefix: str) -> None:
    for found in pkgutil.iter_modules(path, prefix):
        if found.name in NOT_ON_A_NODE or found.name.endswith(".__main__"):
            continue
        module = importlib.import_module(found.name)
        if found.ispkg:
            _load_all_of(module.__path__, f"{found.name}.")


def serve(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request, until nobody asks any more.

    Returns:
        In the new process, the request and the standard files for it; None: nobody asks any more.
    """
    runs: dict[int, Run] = {}
    poller = select.poll()
    poller.register(control, select.POLLIN)
    while True:
        # One at a time: what else is ready may be closed by then.
        descriptor = poller.poll()[0][0]
        if descriptor != control.fileno():
            run = runs[descriptor]
            if descriptor == run.report:
                os.kill(run.pid, signal.SIGKILL)
                poller.unregister(descriptor)
                continue
            _, status = os.waitpid(run.pid, 0)
            with suppress(BrokenPipeError):
                os.write(run.report, b"%d" % os.waitstatus_to_exitcode(status))
            for number in (run.report, run.ended):
                with suppress(KeyError):
                    poller.unregister(number)
                os.close(number)
                del runs[number]
            continue
        message, descriptors, _, _ = socket.recv_fds(control, _REQUEST_MAX, 4)
        if not message:
            for pid in {run.pid for run in runs.values()}:
                os.kill(pid, signal.SIGKILL)
            return None
        pid = os.fork()
        if pid == 0:
            return json.loads(message), descriptors[:3]
        for number in descriptors[:3]:
            os.close(number)
        run = Run(pid, descriptors[3], os.pidfd_open(pid))
        runs[run.report] = runs[run.ended] = run
        poller.register(run.report, 0)
        poller.register(run.ended, select.POLLIN)


def become(request: dict[str, Any], standard: list[int]) -> None:
    """Run a module as `python -m` does, or a file, and end the process."""
    for number in signal.valid_signals() - UNCHANGEABLE:
        ignored = number in request["ignored"]
        signal.signal(number, signal.SIG_IGN if ignored else SET_BY_PYTHON.get(number, signal.SIG_DFL))
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked"])
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
    os.closerange(3, max(standard) + os.sysconf("SC_OPEN_MAX"))
    _open_standard_streams()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.umask(request["umask"])
    os.chdir(request["directory"])
    sys.orig_argv = request["command"]
    sys.argv = sys.orig_argv[2:] if request["is_module"] else sys.orig_argv
    try:
        if request["is_module"]:
            sys.path.insert(0, os.getcwd())
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as request_to_end:
        _end(request_to_end.code)
        raise


def _end(status: object) -> None:
    """End as Python does, but without taking each object apart, which costs more than all the rest.

    Returns where Python itself has something to say of the end.
    """
    if status is not None and not isinstance(status, int):
        return
    threading._shutdown()
    atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit((status or 0) & 0xFF)


def _open_standard_streams() -> None:
    """Make them as Python does: what they are like depends on whether one is a terminal."""
    for number, name, mode in ((0, "stdin", "rb"), (1, "stdout", "wb"), (2, "stderr", "wb")):
        old = getattr(sys, name)
        unbuffered = old.write_through
        raw = open(number, mode, buffering=0, closefd=False)  # noqa: SIM115  it is the stream from then on
        raw.name = f"<{name}>"
        file = io.BufferedReader(raw) if number == 0 else raw if unbuffered else io.BufferedWriter(raw)
        line_buffering = not unbuffered and (number == 2 or raw.isatty())
        stream = io.TextIOWrapper(file, old.encoding, old.errors, "\n", line_buffering, unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def main() -> None:
    """Serve whoever has the other end of a socket, whose descriptor is the only argument."""
    # Ctrl-C at a terminal is for whoever asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    # The directory of this file, where a run has the one it is in.
    del sys.path[0]
    load()
    assert len(os.listdir("/proc/self/task")) == 1, "a fork would lack the other threads"
    asked = serve(control)
    if asked is None:
        control.close()
    else:
        # Its descriptor is closed with all others.
        control.detach()
        become(*asked)


if __name__ == "__main__":
    main()
