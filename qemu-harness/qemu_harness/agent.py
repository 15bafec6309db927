"""The host's end of the guest agent: commands go in, their results come out."""

import base64
import contextlib
import json
import shlex
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qemu_harness.process import HarnessError

# The agent ends a command whose time is up; this much later its answer counts as lost.
GRACE_S = 30.0
POLL_S = 0.5
PING_S = 3.0
END_S = 3.0
BOOT_ID = "/proc/sys/kernel/random/boot_id"


class AgentSilent(HarnessError):  # noqa: N818 - named after what happened
    """The guest agent did not answer in time."""


class CommandFailed(HarnessError):  # noqa: N818 - named after what happened
    """A command on the node ended with an exit status other than 0."""


@dataclass(frozen=True)
class Completed:
    """A command that ran on the node."""

    command: str
    exit_code: int
    stdout: str
    stderr: str

    def check(self) -> "Completed":
        """Give the command back if it succeeded.

        Raises:
            CommandFailed: it did not; the message holds both of its outputs.
        """
        if self.exit_code:
            raise CommandFailed(
                f"cannot run `{self.command}` on the node: exit status {self.exit_code}\n"
                f"stdout: {self.stdout.strip()}\nstderr: {self.stderr.strip()}"
            )
        return self


class Agent:
    """A connection to the guest agent, which lives as long as QEMU does, over all reboots of the node."""

    def __init__(self, path: Path, still_running: Callable[[], None]) -> None:
        """Connect to QEMU's end of the port.

        Args:
            still_running: raises when QEMU has ended, so that nobody waits for a machine that is gone.
        """
        self._still_running = still_running
        self._pending = b""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(POLL_S)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise HarnessError(f"cannot connect to the guest agent's port at {path}: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def run(self, command: str | Sequence[str], *, stdin: bytes = b"", timeout_s: float = 120.0) -> Completed:
        """Run a command on the node, as root.

        Args:
            command: a line for the shell, or the words of a command.
            timeout_s: when the command is killed.

        Raises:
            AgentSilent: there was no answer, or the command's time was up.
        """
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        line = command if isinstance(command, str) else shlex.join(command)
        answer = self._exchange(argv, stdin, timeout_s, patience_s=timeout_s + GRACE_S)
        if answer["exit_code"] is None:
            raise AgentSilent(f"cannot wait longer for `{line}` on the node: it was killed after {timeout_s:.0f} s")
        stdout, stderr = (base64.b64decode(answer[name]).decode(errors="replace") for name in ("stdout", "stderr"))
        return Completed(line, int(answer["exit_code"]), stdout, stderr)

    def wait_for_boot(self, previous: str | None, timeout_s: float) -> str:
        """Wait until the node runs, and not in the boot named by `previous`; give the identifier of its boot.

        Raises:
            AgentSilent: it did not within the time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            # A node that is down reads nothing, so the question is repeated until it is up.
            with contextlib.suppress(AgentSilent):
                answer = self._exchange(["cat", BOOT_ID], b"", PING_S, patience_s=PING_S)
                boot_id = base64.b64decode(answer["stdout"]).decode().strip()
                if boot_id and boot_id != previous:
                    return boot_id
                time.sleep(POLL_S)
        raise AgentSilent(f"the node did not come up within {timeout_s:.0f} s")

    def _exchange(self, argv: list[str], stdin: bytes, timeout_s: float, patience_s: float) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        deadline = time.monotonic() + patience_s
        number = uuid.uuid4().hex
        request = {
            "id": number,
            "argv": argv,
            "stdin": base64.b64encode(stdin).decode(),
            "timeout_s": timeout_s,
        }
        # The newline in front ends whatever a reset has cut off before.
        content = memoryview(b"\n" + json.dumps(request).encode() + b"\n")
        while time.monotonic() < deadline:
            self._still_running()
            try:
                if content:
                    content = content[self._socket.send(content) :]
                else:
                    # Answers to earlier questions, that nobody waited for, are told apart by their identifier.
                    for answer in self._received():
                        if answer.get("id") == number:
                            return answer
            except TimeoutError:
                continue
            except OSError as error:
                self._explain_end()
                raise HarnessError(f"cannot talk to the guest agent: {error}") from error
        raise AgentSilent(f"the node did not answer `{shlex.join(argv)}` within {patience_s:.0f} s")

    def _explain_end(self) -> None:
        """Raise what ended QEMU: its end of the port closes a moment before its process is gone."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            self._still_running()
            time.sleep(0.05)

    def _received(self) -> Iterator[dict[str, Any]]:
        """Read once and yield the answers that are complete."""
        content = self._socket.recv(1 << 20)
        if not content:
            raise OSError("QEMU closed the port")
        *lines, self._pending = (self._pending + content).split(b"\n")
        for line in lines:
            # What is no object is the rest of an answer that a reset has cut off.
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict):
                    yield answer
