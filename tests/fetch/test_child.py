"""The child as an attacker may have made it, or as it was killed: the parent believes nothing, and takes another."""

import os
import signal
import time
from pathlib import Path
from random import Random

import pytest

from manageboot import errors
from manageboot.fetch import failures, process, wire
from manageboot.fetch.download import Download
from manageboot.fetch.fetcher import Fetcher
from manageboot.fetch.mirrors import Trouble
from manageboot.fetch.options import Options
from manageboot.fetch.outcome import Outcome
from manageboot.fetch.stream import Stream
from manageboot.fetch.wire import End, Kind, Request
from support import hostile
from support.hostile import CONTENT, PIECE, Hostile, honest

pytestmark = pytest.mark.devices

OPTIONS = Options(stall=30, backoff=0.001, deadline=60)


READY = wire.packed(Kind.READY)
BEGIN = wire.packed(Kind.BEGIN, wire.pack_begin(None))
END = wire.packed(Kind.END, End(Outcome.DONE).pack())


def pretend(monkeypatch: pytest.MonkeyPatch, said: bytes, then: str = "") -> None:
    """Put another program in the place of the child: it says it is ready, waits for a request, says this, and ends."""
    take = "os.read(0, 1); left = int.from_bytes(os.read(0, 4), 'little')\nwhile left: left -= len(os.read(0, left))\n"
    code = f"import os, time; {take}os.write(1, {READY!r}); {take}os.write(1, {said!r}); "
    monkeypatch.setattr(process, "_PROGRAM", code + then)


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"", "is gone"),
        (END, "it sends nothing"),
        (wire.packed(Kind.DATA, b"x"), "nobody asked for"),
        (BEGIN + wire.packed(Kind.DATA), "nobody asked for"),
        (BEGIN + wire.packed(Kind.DATA, b"x" * 101), "nobody asked for"),
        (BEGIN + BEGIN, "out of order"),
        (BEGIN + READY, "out of order"),
        (wire.packed(Kind.BEGIN, b"x"), "can't be read"),
        (wire.packed(Kind.END, b"x"), "can't be read"),
        (wire.packed(Kind.END, bytes([99]) + bytes(12)), "can't be read"),
        (wire.packed(Kind.REQUEST), "may not come"),
        (b"\xff" * 5, "may not come"),
        (b"\x06\xff\xff\xff\xff", "4294967295 bytes"),
        (wire.packed(Kind.END, End(Outcome.BROKEN, "\x1b[2J").pack()), r"\\x1b\[2J"),
    ],
)
def test_what_it_may_not_say_is_not_believed(monkeypatch: pytest.MonkeyPatch, said: bytes, cause: str):
    pretend(monkeypatch, said)
    options = OPTIONS._replace(backoff=600)
    with (
        Fetcher(["http://127.0.0.1:1/"], options) as running,
        pytest.raises(failures.FetchBrokenError, match=cause) as caught,
    ):
        Download(running, "file", 0, 100).take(100)
    assert str(caught.value).isprintable()


def test_one_that_says_nothing_is_not_waited_for_past_the_deadline(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, BEGIN, "time.sleep(600)")
    with Fetcher(["http://127.0.0.1:1/"], OPTIONS._replace(deadline=1)) as running:
        with pytest.raises(failures.FetchDeadlineError):
            Download(running, "file", 0, 100).take(100)
        assert running.worker_pid is None


def test_one_that_skips_what_comes_before_may_be_silent(monkeypatch: pytest.MonkeyPatch):
    """As where a server that knows no ranges sends all that is there already, over a slow line."""
    pretend(monkeypatch, BEGIN + wire.packed(Kind.DATA, b"x" * 100), "time.sleep(600)")
    worker = process.Worker(OPTIONS, ["http://127.0.0.1:1/"])
    waits, receive, until_s = [], worker.receive, time.monotonic() + 600
    monkeypatch.setattr(worker, "receive", lambda limit_s: (waits.append(limit_s), receive(limit_s))[1])
    try:
        stream = Stream(worker, Request("http://127.0.0.1:1/file", 1000, 100, whole=False), silence_s=60)
        assert stream.read(until_s) == b"x" * 100
        assert [wait_s < until_s for wait_s in waits] == [True, False]
    finally:
        worker.stop()


def test_one_that_complains_is_heard(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, b"", "raise RuntimeError('no luck today')")
    options = OPTIONS._replace(backoff=600)
    with (
        Fetcher(["http://127.0.0.1:1/"], options) as running,
        pytest.raises(failures.FetchBrokenError, match="no luck today"),
    ):
        Download(running, "file", 0, 100).take(100)


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        ("raise SystemExit", "is gone"),
        ("import os; os.write(1, b'rubbish')", "is gone"),
        ("raise ImportError('no module named pycurl')", "pycurl"),
    ],
)
def test_one_that_is_not_locked_in_fetches_nothing(monkeypatch: pytest.MonkeyPatch, program: str, cause: str):
    monkeypatch.setattr(process, "_PROGRAM", program)
    with Fetcher(["http://127.0.0.1:1/"], OPTIONS) as running, pytest.raises(failures.FetcherError, match=cause):
        Download(running, "file", 0, 100).take(100)


def test_one_that_is_killed_before_it_is_locked_in_is_followed_by_another(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    told: list[str] = []

    def tell(trouble: Trouble) -> None:
        told.append(trouble.text)
        monkeypatch.undo()

    with Hostile(honest) as mirror, Fetcher([mirror.url], OPTIONS, tell=tell) as running:
        assert Download(running, "file", 0, 100).take(100) == CONTENT[:100]
    assert told == ["the process that fetches was killed"]


def test_one_that_is_deaf_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(process, "_PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(process, "_START_LIMIT_S", 0.3)
    # More than a pipe takes.
    monkeypatch.setattr(process, "_NSSWITCH", bytes(1_000_000))
    with Fetcher(["http://127.0.0.1:1/"], OPTIONS) as running, pytest.raises(failures.FetcherError, match="not answer"):
        Download(running, "file", 0, 100).take(100)


def test_without_libseccomp_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch):
    name = "from manageboot.fetch import seccomp; seccomp.NAME = 'libnone.so'; "
    monkeypatch.setattr(process, "_PROGRAM", process._PROGRAM.replace("from manageboot", f"{name}from manageboot", 1))
    with Fetcher(["http://127.0.0.1:1/"], OPTIONS) as running, pytest.raises(failures.FetcherError, match="libnone"):
        Download(running, "file", 0, 100).take(100)


def test_where_nobody_could_end_it_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch):
    """Root that lacks a capability, as in a sandbox: a child that hangs would be waited for, and never end."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "kill", refuse)
    with Fetcher(["http://127.0.0.1:1/"], OPTIONS) as running:
        with pytest.raises(failures.FetcherError, match="cannot lock in the process that fetches: nobody may end it"):
            Download(running, "file", 0, 100).take(100)
        assert running.worker_pid is None


@pytest.mark.parametrize("name", ["ca", "certificate", "key", "netrc"])
def test_a_file_that_cannot_be_read_is_named(name: str):
    options = OPTIONS._replace(**{name: "/nowhere/file"})
    cause = rf"cannot read /nowhere/file \(channel.{name}\)"
    with Fetcher(["http://127.0.0.1:1/"], options) as running, pytest.raises(errors.ConfigError, match=cause):
        Download(running, "file", 0, 100).take(100)


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "netrc")
    options = OPTIONS._replace(netrc=str(tmp_path / "netrc"))
    with Fetcher(["http://127.0.0.1:1/"], options) as running, pytest.raises(errors.ConfigError, match="not a regular"):
        Download(running, "file", 0, 100).take(100)


def killed(kills: int, seed: int) -> None:
    """Fetch while the child is killed at instants that a seed chooses, and hold it to its promise."""
    chance = Random(seed)
    size = 1_000 + len(CONTENT) // (kills + 1)

    def dies(reply: hostile.Reply, asked: hostile.Asked) -> None:
        reply.part(asked)
        stop = min(asked.start + chance.randrange(size), asked.stop)
        reply.raw(CONTENT[asked.start : stop])
        os.kill(running.worker_pid or 0, signal.SIGKILL)
        reply.keep = False

    script = [dies] * kills
    with Hostile(*script, honest) as mirror, Fetcher([mirror.url], OPTIONS) as running:
        download = Download(running, "file", 0, len(CONTENT))
        content = bytearray()
        while piece := download.take(PIECE):
            content += piece
            download.accept()
        assert bytes(content) == CONTENT
        [traffic] = running.traffic()
        # What the child had read, and its parent had not, is lost; what the parent has, it does not ask for again.
        assert traffic.bytes == len(CONTENT)
        assert len(mirror.asked) <= kills + 1


def test_a_child_that_is_killed_at_any_instant_costs_no_byte_that_came():
    killed(5, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 22))
def test_children_that_are_killed_again_and_again(seed: int):
    # More of them within one piece, and the mirror would be left alone for longer and longer.
    killed(5, seed=seed)
