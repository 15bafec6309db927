"""A node for the daemon, without devices and without systemd: a block, a command line, and a made-up systemctl."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from manageboot import config
from manageboot.daemon import statefile
from manageboot.daemon.daemon import Daemon
from manageboot.daemon.memory import Memory
from manageboot.daemon.statefile import Shown
from support.loop import run
from support.node import Node

PATIENCE_S = 120.0
NEVER = "9999d"
DEVICES = [f"slots.{slot}.{part}" for slot in "AB" for part in ("boot", "root")]

SYSTEMCTL = """\
#!/bin/sh
# Answers from files: the state of the system, and of each unit, with a second word where it has a job.
set_state() {{ printf 'LoadState=loaded\\nActiveState=%s\\nSubState=made-up\\nJob=%s\\n' "$1" "$2"; }}
case "$1" in
is-system-running) cat {directory}/system ;;
show)
    shift 3
    separator=
    for unit in "$@"; do
        printf "$separator"
        set_state $(cat {directory}/units/$unit || echo active)
        separator='\\n'
    done ;;
reboot) echo last resort >> {directory}/reboots ;;
esac
"""
REFUSING = """\
reboot|--no-block)
    echo "$*" >> {directory}/reboots
    case "$*" in {obeyed}) exit 0 ;; esac
    echo "Operation denied due to active block inhibitor" >&2
    exit 1 ;;
"""


class DaemonNode(Node):
    """What the daemon needs of a node; the shipped script booted it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.health = directory / "health.d"
        self.run_directory = self.lock.parent
        for path in (self.grubenv.parent, directory / "bin", directory / "units"):
            path.mkdir()
        systemctl = directory / "bin" / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(directory=directory))
        systemctl.chmod(0o755)
        (directory / "system").write_text("running\n")
        (self.grubenv.parent / "grub.cfg").write_text("# GRUB's\n")
        run("grub-editenv", self.grubenv, "create")
        self.boot("A", "stable")
        self.set_block(boot_alternative="A", boot_cycle="stable")
        self.configure()

    def configure(
        self,
        *,
        policy: str = "automatic",
        deadline: str = NEVER,
        reboot: Sequence[str] | None = None,
        boot: str = "",
        state: str = "",
        health: str = "",
        grubenv: str = "",
    ) -> None:
        """Write the configuration; `boot`, `state` and `health` are more lines for these sections.

        A reboot leaves a line in `reboots`, unless `reboot` is another command for it.
        """
        command = ["/bin/sh", "-c", f"echo reboot >> {self.reboots}"] if reboot is None else list(reboot)
        slots = "".join(f'[slots.{slot}]\nboot = "/dev/null/{slot}1"\nroot = "/dev/null/{slot}2"\n' for slot in "AB")
        self.config.write_text(
            f'profile = "custom"\n'
            f'[boot]\ngrubenv = "{grubenv or self.grubenv}"\ncmdline = "{self.directory}/cmdline"\n{boot}\n'
            f"reboot_command = {json.dumps(command)}\n"
            f'[state]\ndirectory = "{self.directory}/state"\nlock = "{self.run_directory}/lock"\n{state}\n'
            f'[confirm]\npolicy = "{policy}"\ndeadline = "{deadline}"\n'
            f'[health]\ndirectory = "{self.health}"\n{health}\n'
            f'[metrics]\ndirectory = "{self.directory}/metrics"\n{slots}'
        )

    def boot(self, slot: str, found: str, *, try_: str = "") -> None:
        """Boot a slot, as far as the kernel command line tells."""
        words = f" manageboot.try={try_} manageboot.nonce=n1" if try_ else ""
        line = f"dfinity.system={slot} manageboot.slot={slot} manageboot.cycle={found}{words}\n"
        (self.directory / "cmdline").write_text(line)

    def start_trial(self) -> None:
        """Boot slot B on trial, as the shipped script does."""
        self.set_block(boot_alternative="B", boot_cycle="failsafe_check", mb_nonce="n1", mb_ack="n1", mb_tried="1")
        self.boot("B", "first_boot", try_="1")

    def start_trial_by_another_script(self, slot: str = "B", **block: str) -> None:
        """Boot a slot on trial by a script that clears nothing for a trial, and says nothing of it."""
        self.set_block(**{"boot_alternative": slot, "boot_cycle": "failsafe_check", **block})
        (self.directory / "cmdline").write_text(f"dfinity.system={slot}\n")

    def commit(self) -> None:
        """Tell GRUB to try slot B, as `upgrade-commit` does."""
        self.set_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="n2")

    def lose_block(self, how: str) -> None:
        """Leave zeros, as a power cut may; what is no block; nothing, as a tool that truncates; or no file at all."""
        contents = {"zeros": b"\0" * 1024, "damaged": b"x" * 1024, "empty": b""}
        if how == "gone":
            self.grubenv.unlink()
        else:
            self.grubenv.write_bytes(contents[how])

    def add_check(self, name: str, script: str) -> None:
        """Add an executable: `required/NAME` or `wanted/NAME`."""
        path = self.health / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def set_unit(self, unit: str, state: str) -> None:
        """Say what systemctl answers for a unit, with a second word where it has a job; others are active."""
        (self.directory / "units" / unit).write_text(state)

    def refuse_reboots(self, obeyed: str) -> None:
        """Let systemctl obey some ways to reboot only, as a pattern of the shell; all leave a line in `reboots`."""
        systemctl = self.directory / "bin" / "systemctl"
        lines = systemctl.read_text().splitlines(keepends=True)
        place = next(number for number, line in enumerate(lines) if line.startswith("reboot)"))
        lines[place] = REFUSING.format(directory=self.directory, obeyed=obeyed)
        systemctl.write_text("".join(lines))

    def manageboot(self, *arguments: str) -> str:
        """Run a verb, which has to succeed."""
        return self.ok(*arguments).strip()

    def events(self) -> list[str]:
        """The names of all events so far."""
        return [entry["event"] for entry in json.loads(self.manageboot("history", "--json"))["entries"]]

    def problems(self) -> list[str]:
        """The code words of the problems in the status."""
        return [problem["code"] for problem in self.status()["problems"]]

    def remembered(self) -> dict[str, Any]:
        """What the daemon has left for the next one."""
        return json.loads((self.run_directory / "daemon.json").read_text())["memory"]

    def asked(self) -> list[str]:
        """How the node was asked to reboot, each time."""
        return self.reboots.read_text().splitlines() if self.reboots.exists() else []

    def reboot_count(self) -> int:
        """How often a reboot was asked for."""
        return len(self.asked())


class RunningDaemon:
    """A daemon process, and what it tells systemd."""

    def __init__(self, process: subprocess.Popen[str], notices: socket.socket) -> None:
        self.process = process
        self.notices: list[str] = []
        self._socket = notices

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is true; look again whenever the daemon says something, and now and then."""
        given_up = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, f"the daemon ended: {self.log()}"
            assert time.monotonic() < given_up, f"waited for {what}: {self.notices}"
            self._listen(0.05)

    def wait_for_notice(self, text: str) -> None:
        """Wait until the daemon has told systemd something."""
        self.wait_for(lambda: any(text in notice for notice in self.notices), text)

    def stop(self) -> None:
        """End it as systemd does; it has to end well."""
        self.process.send_signal(signal.SIGTERM)
        given_up = time.monotonic() + PATIENCE_S
        # As systemd does all the time: a socket holds a few notices only, and whoever sends one more waits.
        while self.process.poll() is None and time.monotonic() < given_up:
            self._listen(0.05)
        assert self.process.wait(PATIENCE_S) == 0, self.log()
        self._listen(0)

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        """All that it logged; it has to have ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def _listen(self, timeout_s: float) -> None:
        while select.select([self._socket], [], [], timeout_s)[0]:
            self.notices += self._socket.recv(4096).decode().splitlines()
            timeout_s = 0


@contextmanager
def running(
    node: DaemonNode, *, before: Callable[[], None] | None = None, **environment: str
) -> Iterator[RunningDaemon]:
    """Run the daemon for the time of a with block; it is up and has looked once. `before` is called in its process."""
    path = node.directory / "notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(str(path))
        variables = {
            **os.environ,
            "PATH": f"{node.directory}/bin:{os.environ['PATH']}",
            "NOTIFY_SOCKET": str(path),
            **environment,
        }
        argv = [sys.executable, "-m", "manageboot", "-c", str(node.config), "daemon"]
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=variables,
            preexec_fn=before,  # noqa: PLW1509  there are no threads here
        )
        try:
            daemon = RunningDaemon(process, notices)
            daemon.wait_for_notice("STATUS=")
            assert daemon.notices.index("READY=1") == 0
            yield daemon
        finally:
            process.kill()
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def stepped(node: DaemonNode, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    """Prepare a node for a daemon in this process, which is driven turn by turn, with a clock that is a number."""
    monkeypatch.setenv("PATH", f"{node.directory}/bin:{os.environ['PATH']}")
    node.run_directory.mkdir()
    # The node has no devices; here that is no news.
    statefile.store(str(node.run_directory), Memory(), Shown(devices=dict.fromkeys(DEVICES, "gone")))
    return node


def start(node: DaemonNode) -> Daemon:
    """Make a daemon, which knows what the one before it left."""
    return Daemon(config.load(str(node.config)))


def turn(daemon: Daemon, *moments_s: float) -> None:
    """Let the daemon do at each moment all that it wants to do then, in seconds since boot."""
    for now_s in moments_s:
        for _ in range(50):
            later = daemon._turn(now_s) > now_s
            descriptors = daemon._descriptors
            if later and not descriptors:
                break
            select.select(descriptors, [], [], 30 if descriptors else 0)
        else:
            raise AssertionError("it does not come to rest")
