"""The child as its parent sees it: it is started, asked, heard, and ended. Nothing that it says is believed."""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import manageboot
from manageboot import errors
from manageboot.fetch import failures, wire
from manageboot.fetch import options as fetch_options
from manageboot.fetch.options import Options
from manageboot.fetch.wire import Kind, Request
from manageboot.system import files, text

_ROOT = os.path.dirname(os.path.dirname(manageboot.__file__))
# It finds the package where this process has it, which may be a zip file.
_PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from manageboot.fetch.worker import main; main()"
_ANSWERS = frozenset({Kind.READY, Kind.UNFIT, Kind.BEGIN, Kind.DATA, Kind.END})
_START_LIMIT_S = 60
_END_LIMIT_S = 0.5
_READ_SIZE = wire.ANSWER_MAX + 64
_FILE_MAX = 4 * 1024 * 1024
_COMPLAINT_MAX = 2000

# What glibc resolves names with. Its other ways load modules and ask daemons, which the jail has not.
_NSSWITCH = b"hosts: files dns\n"
_RESOLVER = ("/etc/resolv.conf", "/etc/hosts", "/etc/gai.conf")


class Worker:
    """A child that fetches. A new one sees what has become of the configuration, the resolver and the certificates."""

    def __init__(self, options: Options, mirrors: Sequence[str]) -> None:
        """Start it, and wait until it is locked in.

        Args:
            options: how to fetch.
            mirrors: base URLs.

        Raises:
            ConfigError: a file that the options name can't be read.
            NotPermittedError: this process is not root.
            FetcherError: it can't be started, or can't be locked in.
            WireError: somebody killed it meanwhile.
        """
        if os.geteuid() != 0:
            raise errors.NotPermittedError(
                "cannot fetch: only root can lock in the process that does it", hint="run it as root"
            )
        setup = _setup(options, mirrors)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, _ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                # Ctrl-C is for this process, which ends the child in its own time.
                start_new_session=True,
            )
        except OSError as error:
            raise errors.from_os_error(error, "start the process that fetches", failures.FetcherError) from error
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._requests = self._process.stdin.fileno()
        self._answers = self._process.stdout.fileno()
        self._complaints = self._process.stderr.fileno()
        os.set_blocking(self._requests, False)
        self._frames = wire.Frames(_ANSWERS, wire.ANSWER_MAX)
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        try:
            self._lock_in(setup)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def ask(self, request: Request) -> None:
        """Let it fetch something; nothing else may be under way.

        Raises:
            WireError: it is gone.
        """
        try:
            self._send(Kind.REQUEST, request.pack())
        except OSError as error:
            raise wire.WireError(self._why_gone()) from error

    def receive(self, until_s: float) -> tuple[Kind, bytes]:
        """Wait for its next frame.

        Args:
            until_s: monotonic time.

        Raises:
            WireError: it is gone, or says what it may not.
            TimeoutError: it said nothing until then.
        """
        while (frame := self._frames.next()) is None:
            left_s = until_s - time.monotonic()
            # Rounded up: it is not to be asked again and again in the last millisecond.
            if left_s <= 0 or not self._poll.poll(int(min(left_s, 3600) * 1000) + 1):
                if until_s > time.monotonic():
                    continue
                raise TimeoutError
            content = os.read(self._answers, _READ_SIZE)
            if not content:
                raise wire.WireError(self._why_gone())
            self._frames.feed(content)
        return frame

    def kill(self) -> None:
        """End it from another thread; whoever hears it is told that it is gone, and stops it."""
        self._process.kill()

    def stop(self) -> None:
        """End it at once, whatever it does."""
        # One that nobody may end has fetched nothing yet, and ends when its pipe does.
        with suppress(PermissionError):
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()
        self._process.wait()

    def _lock_in(self, setup: bytes) -> None:
        try:
            self._send(Kind.SETUP, setup)
            kind, body = self.receive(time.monotonic() + _START_LIMIT_S)
        except (wire.WireError, OSError) as error:
            if not isinstance(error, TimeoutError) and self._was_killed():
                # As the kernel does where memory is short: another one may live.
                raise wire.WireError("the process that fetches was killed") from error
            cause = "it does not answer" if isinstance(error, TimeoutError) else self._why_gone()
            raise failures.FetcherError(f"cannot start the process that fetches: {cause}") from error
        if kind != Kind.READY:
            cause = text.one_line(text.decode(body[:_COMPLAINT_MAX]))
            hint = "install python3-pycurl" if "pycurl" in cause else None
            raise failures.FetcherError(f"cannot lock in the process that fetches: {cause}", hint=hint)
        try:
            # It is another user's now.
            os.kill(self.pid, 0)
        except PermissionError as error:
            cause, hint = "nobody may end it", "run it with the capability CAP_KILL"
            raise failures.FetcherError(f"cannot lock in the process that fetches: {cause}", hint=hint) from error
        except ProcessLookupError:
            pass  # killed meanwhile; whoever asks it hears that

    def _was_killed(self) -> bool:
        """Tell whether somebody killed it, and not its own fault or its jail."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(_END_LIMIT_S) == -signal.SIGKILL
        return False

    def _send(self, kind: Kind, body: bytes) -> None:
        """Send it a frame.

        Raises:
            TimeoutError: it does not read.
            OSError: it is gone.
        """
        frame = memoryview(wire.packed(kind, body))
        ends_s = time.monotonic() + _START_LIMIT_S
        room = select.poll()
        room.register(self._requests, select.POLLOUT)
        while frame:
            if not room.poll(max(0, int((ends_s - time.monotonic()) * 1000))):
                raise TimeoutError
            with suppress(BlockingIOError):
                frame = frame[os.write(self._requests, frame) :]

    def _why_gone(self) -> str:
        """Say what the last line on its stderr was, and how it ended."""
        os.set_blocking(self._complaints, False)
        with suppress(OSError):
            if lines := text.decode(os.read(self._complaints, 65536)[-_COMPLAINT_MAX:]).splitlines():
                return f"the process that fetches failed: {text.one_line(lines[-1])}"
        return "the process that fetches is gone"


def _setup(options: Options, mirrors: Sequence[str]) -> bytes:
    """Collect what the child needs of the file system, which it will not see."""
    carried = {"/etc/nsswitch.conf": (_NSSWITCH, False)}
    for resolver in _RESOLVER:
        with suppress(OSError, ValueError):
            carried[resolver] = (files.read(resolver, _FILE_MAX), False)
    inside: dict[str, Any] = {}
    named: tuple[tuple[str, str | None, bool], ...] = (
        ("ca", _ca(options, mirrors), False),
        ("certificate", options.certificate, True),
        ("key", options.key, True),
        ("netrc", options.netrc, True),
    )
    for name, path, secret in named:
        if path is None:
            continue
        inside[name] = f"/{name}"
        try:
            carried[inside[name]] = (files.read(path, _FILE_MAX), secret)
        except (OSError, ValueError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            hint = "install ca-certificates, or set channel.ca" if name == "ca" and options.ca is None else None
            raise errors.ConfigError(f"cannot read {path} (channel.{name}): {cause}", hint=hint) from error
    setup = {
        "options": options._replace(**inside)._asdict(),
        "files": {path: (base64.b64encode(content).decode(), secret) for path, (content, secret) in carried.items()},
    }
    return json.dumps(setup).encode()


def _ca(options: Options, mirrors: Sequence[str]) -> str | None:
    """Return the file of those whom TLS trusts; None: there is none, and all mirrors are plain http."""
    if options.ca is not None:
        return options.ca
    needed = any(url.startswith("https:") for url in (*mirrors, options.proxy or ""))
    return fetch_options.CA_FILE if needed or Path(fetch_options.CA_FILE).exists() else None
