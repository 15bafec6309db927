"""A program for test_forked.py: it tells what it has from whoever started it, and ends as it is asked to."""

import atexit
import json
import locale
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path


def what_it_has() -> dict[str, object]:
    """All of it that two runs of the same kind have in common."""
    streams = [sys.stdin, sys.stdout, sys.stderr]
    signals = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    umask = os.umask(0)
    return {
        "words": sys.argv[1:],
        "command": sys.orig_argv[1:],
        "program": sys.argv[0],
        "package": __package__,
        "search path": sys.path,
        "directory": os.getcwd(),
        "environment": sorted(os.environ.items()),
        "umask": umask,
        "descriptors": [number for number in range(1000) if os.path.exists(f"/proc/self/fd/{number}")],
        "standard files": [stat.S_IFMT(os.fstat(number).st_mode) for number in range(3)],
        "streams": [(file.encoding, file.errors, file.line_buffering, file.isatty(), file.name) for file in streams],
        "signals": sorted((int(number), repr(signal.getsignal(number)).partition(" at ")[0]) for number in signals),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "thread": [threading.current_thread() is threading.main_thread(), threading.active_count()],
        "group": [os.getpgid(0), os.getsid(0)],
        "locale": locale.setlocale(locale.LC_ALL),
        "input": "" if sys.stdin.isatty() else sys.stdin.read(),
    }


def main() -> object:
    """Tell what it has, and return what it ends with."""
    how = sys.argv[1]
    atexit.register(print, "at the end")
    # What is not on its way is lost with a process that is killed.
    print(json.dumps(what_it_has()), flush=True)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raises":
        raise ValueError("oops")
    if how == "hangs":
        Path(sys.argv[2]).write_text(str(os.getpid()))
        time.sleep(1000)
    if how == "full":
        sys.stdout.flush()
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    if how == "thread":
        threading.Timer(0.1, print, ("a thread",)).start()
    return {"text": "no", "status": 259, "nothing": None}.get(how, 0)


if __name__ == "__main__":
    sys.exit(main())
