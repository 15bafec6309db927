"""What `status` says to a person: each state in words, what to do, and nothing that a terminal would obey."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manageboot import config
from manageboot.config import Config
from manageboot.report import page, status
from manageboot.system import lock, terminal
from manageboot.system.terminal import Screen
from manageboot.upgrade import verbs
from support.images import make_update
from support.node import LoopNode

PATIENCE_S = 60
NARROW, WIDE = Screen(80, terminal=True, coloured=True), Screen(120, terminal=True, coloured=True)
STYLE = re.compile(r"\x1b\[[0-9]*m")


@pytest.fixture
def settings(node: LoopNode) -> Config:
    return config.load(str(node.config))


def fitting(found: dict[str, Any]) -> str:
    """The page as it is in a pipe; on a terminal of either width no line is longer than that."""
    for screen in (NARROW, WIDE):
        lines = STYLE.sub("", page.render(found, screen)).splitlines()
        assert max(map(len, lines)) <= screen.columns
        assert all(line.isprintable() for line in lines)
    shown = page.render(found)
    assert "\x1b" not in shown
    return shown


def said(settings: Config) -> tuple[str, str, str, str]:
    found = status.collect(settings)
    slots = found["slots"]
    fitting(found)
    return slots["A"]["now"], slots["B"]["now"], found["next_because"], found["to_do"]


@pytest.mark.devices
def test_a_node_between_two_upgrades_says_what_to_do(node: LoopNode, settings: Config, tmp_path: Path):
    update = make_update(tmp_path / "update")
    trusted, goes_into = "it is the trusted one", "nothing; the next upgrade goes into slot "
    assert said(settings) == ("trusted", "unknown", trusted, f"{goes_into}B")
    assert "factory system, not installed by" in fitting(status.collect(settings))
    node.ok("upgrade-install", update)
    commit = "`manageboot upgrade-commit` to try slot B, or `manageboot upgrade-cancel` to drop the installation"
    assert said(settings) == ("trusted", "installed", trusted, commit)
    verbs.commit(settings, reboot=False)
    wait = "reboot to try slot B, or take the commit back with `manageboot upgrade-cancel`"
    assert said(settings) == ("trusted", "committed", "it is committed, and boots on trial", wait)
    node.boot()
    decide = "`manageboot confirm` if this system works, `manageboot rollback` if it does not"
    assert said(settings) == ("way-back", "trial", "GRUB goes back to it, unless slot B is confirmed before", decide)
    assert "no deadline: it goes on until a confirm, a rollback or a reboot" in fitting(status.collect(settings))
    node.set_block(mb_trial="by_hand", mb_nonce="n", mb_ack="n")
    node.cmdline.write_text(f"{node.cmdline.read_text().strip()} manageboot.slot=B manageboot.nonce=n\n")
    aborted = ("way-back", "trial", "the trial of slot B was aborted", "reboot: GRUB goes back to slot A")
    assert said(settings) == aborted
    node.set_block(mb_trial="", mb_nonce="", mb_ack="")
    node.boot()
    again = "see the cause above; then install a better update image into slot B"
    assert said(settings) == ("trusted", "fell-back", trusted, again)
    (tmp_path / "bad.tar").write_bytes(update.read_bytes()[: update.stat().st_size // 2])
    node.run("upgrade-install", tmp_path / "bad.tar")
    anew = "nothing has to be done; `manageboot upgrade-install` writes slot B anew"
    assert said(settings) == ("trusted", "void", trusted, anew)
    assert "failed: cannot" in page.render(status.collect(settings), Screen(400))


@pytest.mark.devices
def test_what_a_record_knows_is_told(node: LoopNode, settings: Config, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    verbs.commit(settings, reboot=False)
    node.boot()
    verbs.confirm(settings)
    found = status.collect(settings)
    assert (found["booted"], found["version"], found["slots"]["B"]["version"]) == ("B", None, "0.2.0")
    assert [event["event"] for event in found["events"]] == ["installed", "committed", "confirmed"]
    shown = fitting(found)
    for digest in (found["slots"]["B"]["record"]["source_sha256"], found["slots"]["B"]["record"]["root"]["digest"]):
        assert digest[:12] in shown
        assert digest not in shown
    assert re.search(r"^version not known +0\.2\.0$", shown, re.MULTILINE)


@pytest.mark.devices
def test_a_conflict_and_a_damaged_block_lead_to_doctor(node: LoopNode, settings: Config):
    node.set_block(boot_alternative="B")
    assert said(settings)[0] == "booted"
    assert said(settings)[3].startswith("run `manageboot doctor`")
    node.grubenv.write_bytes(b"x" * 1024)
    assert said(settings)[2:] == (None, "run `manageboot doctor`: it says what is wrong, and what to do")
    assert "next    unknown\n" in page.render(status.collect(settings))


@pytest.mark.devices
def test_a_deadline_is_told_with_the_time_left(node: LoopNode, settings: Config):
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    node.set_booted("B")
    found = status.collect(settings)
    for left, text in ((59.9, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")):
        assert f"trial   aborted in {text}, unless it is confirmed\n" in page.render(found | {"deadline_left_s": left})
    held = found | {"deadline_left_s": 9, "daemon": found["daemon"] | {"held": True}}
    assert "trial   the deadline does not count while the daemon is paused\n" in page.render(held)


@pytest.mark.devices
def test_nothing_that_others_say_reaches_the_terminal(settings: Config):
    found = status.collect(settings)
    hostile = "\x1b[2J\n\u202e" + "x" * 300
    found["slots"]["A"] |= {"version": hostile, "record": {"state": "void", "failure": hostile, "source": hostile}}
    found["running"], found["to_do"], found["explanation"] = f"1 {hostile}", hostile, hostile
    found["problems"] = [{"code": "X", "text": hostile}]
    fitting(found)


@pytest.mark.parametrize(
    ("text", "columns", "lines"),
    [
        ("", 5, [""]),
        ("one two", 7, ["one two"]),
        ("one two", 6, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a abcd b", 3, ["a", "abc", "d b"]),
        ("abc def", 3, ["abc", "def"]),
    ],
)
def test_a_text_is_broken_between_words(text: str, columns: int, lines: list[str]):
    assert terminal.wrapped(text, columns) == lines


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm"}, Screen(80, 24, terminal=True, coloured=True)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Screen(80, 24, terminal=True)),
        ({"TERM": "xterm", "NO_COLOR": ""}, Screen(80, 24, terminal=True, coloured=True)),
        ({"TERM": "dumb"}, Screen(80, 24)),
        ({}, Screen(80, 24)),
    ],
)
def test_what_the_terminal_can_show(environment: dict[str, str], expected: Screen, monkeypatch: pytest.MonkeyPatch):
    for name in ("TERM", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    try:
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        monkeypatch.setattr(terminal, "_STDOUT", follower)
        assert terminal.screen() == expected
    finally:
        os.close(leader)
        os.close(follower)
    monkeypatch.setattr(terminal, "_STDOUT", leader)
    assert terminal.screen() == terminal.PLAIN  # it is closed


@pytest.fixture
def started(node: LoopNode, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An installation that waits for the end of its image."""
    update = make_update(tmp_path / "update")
    with subprocess.Popen(
        node.command("upgrade-install", "-"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin is not None
        process.stdin.write(update.read_bytes()[:-1000])
        process.stdin.flush()
        progress = node.lock.parent / "progress.json"
        deadline = time.monotonic() + PATIENCE_S
        while not progress.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
        if process.poll() is None:
            process.kill()


def read_until(descriptor: int, text: str) -> str:
    """What comes out of a terminal, up to a text."""
    seen = b""
    while text.encode() not in seen:
        ready, _, _ = select.select([descriptor], [], [], PATIENCE_S)
        assert ready, seen
        seen += os.read(descriptor, 1 << 16)
    return seen.decode()


@pytest.mark.devices
@pytest.mark.parametrize("key", ["q", "\x03"])
def test_a_watch_ends_at_a_key_and_the_installation_goes_on(node: LoopNode, started: subprocess.Popen[bytes], key: str):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 16, 80, 0, 0))
    before = termios.tcgetattr(follower)
    command = ["setsid", "--ctty", "--wait", *node.command("status", "--watch")]
    environment = os.environ | {"TERM": "xterm"}
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment) as watching:
        seen = read_until(leader, "q ends this")
        os.write(leader, key.encode())
        # The page once more, on the screen that the terminal had before.
        _, left, _ = read_until(leader, "what it watched goes on").rpartition("\x1b[?1049l")
        assert left
        assert watching.wait(PATIENCE_S) == 0
    assert "\x1b[?1049h" in seen
    # The whole of the terminal but its last line, which the cursor is in: one more would scroll away the first.
    page = seen.split("\x1b[H")[1].partition("q ends this")[0]
    assert (page.count("\n"), "state " in page, "being written" in page) == (14, True, True)
    assert termios.tcgetattr(follower) == before
    os.close(leader)
    os.close(follower)
    assert started.poll() is None


@pytest.mark.devices
def test_a_watch_that_is_ended_shows_what_is_there_now(node: LoopNode, started: subprocess.Popen[bytes]):
    command = node.command("status", "--watch")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert "upgrade-install: write" in watching.stdout.readline()
        started.kill()
        started.wait(PATIENCE_S)
        watching.send_signal(signal.SIGINT)
        page, said = watching.communicate(timeout=PATIENCE_S)
        assert watching.returncode == 0
    assert ("its installation did not finish" in " ".join(page.split()), "running" in page) == (True, False)
    assert said == ""


@pytest.mark.devices
def test_a_watch_in_a_pipe_prints_lines_and_ends_with_the_installation(
    node: LoopNode, started: subprocess.Popen[bytes]
):
    with subprocess.Popen(node.command("status", "--watch"), stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        assert re.fullmatch(r"\d+ upgrade-install: write, \d+ KiB, \d+ s\n", watching.stdout.readline())
        started.terminate()
        rest = watching.stdout.read()
        assert watching.wait(PATIENCE_S) == 0
    assert "\x1b" not in rest
    assert re.search(r"^now     booted, trusted +void$", rest, re.MULTILINE)


@pytest.mark.devices
def test_what_runs_is_waited_for_by_the_name_of_its_verb(settings: Config):
    for brief in (False, True):
        with lock.held(settings.state.lock, "upgrade-commit", brief=brief):
            assert said(settings)[3].startswith("wait until upgrade-commit has ended; ")
    with lock.held(settings.state.lock, ""):
        assert said(settings)[3].startswith("wait until another run has ended; ")
