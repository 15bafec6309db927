"""Runs commands for the test that drives this virtual machine.

One JSON object a line, over a virtio-serial port. A request is {"id", "argv", "stdin", "timeout_s"}, its answer
{"id", "exit_code", "stdout", "stderr"}; bytes are base64, and an exit code of null says that the time was up. A line
that is no request is the rest of something cut off by a reset and is ignored.
"""

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

PORT = Path("/dev/virtio-ports/manageboot.agent")
PAUSE_S = 0.2


def run(argv: list[str], stdin: bytes, timeout_s: float) -> dict[str, Any]:
    """Run a command to its end, or to the end of its time."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        return {"exit_code": 127, "stdout": "", "stderr": encode(f"{argv[0]}: {error.strerror}\n".encode())}
    exit_code: int | None
    try:
        stdout, stderr = process.communicate(stdin, timeout_s)
        exit_code = process.returncode
    except subprocess.TimeoutExpired:
        # The whole group: a child that keeps the pipes open would keep this agent waiting.
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        exit_code = None
    return {"exit_code": exit_code, "stdout": encode(stdout), "stderr": encode(stderr)}


def encode(content: bytes) -> str:
    """Give bytes as base64 text."""
    return base64.b64encode(content).decode()


def answer(line: bytes) -> bytes | None:
    """Give the answer to one line, or nothing if the line is no request."""
    try:
        request = json.loads(line)
        number, argv = request["id"], request["argv"]
        stdin = base64.b64decode(request["stdin"])
        timeout_s = request["timeout_s"]
    except (ValueError, KeyError, TypeError):
        return None
    # The newline in front ends an answer that a reset has cut off before.
    return b"\n" + json.dumps({"id": number, **run(argv, stdin, timeout_s)}).encode() + b"\n"


def answer_lines(port: int, content: bytes) -> bytes:
    """Answer all complete lines, and give back what comes after the last of them."""
    *lines, rest = content.split(b"\n")
    for line in lines:
        reply = answer(line)
        while reply:
            reply = reply[os.write(port, reply) :]
    return rest


def serve(port: int) -> None:
    """Answer request after request."""
    pending = b""
    while True:
        received = os.read(port, 65536)
        if received:
            pending = answer_lines(port, pending + received)
        else:
            # Nobody is connected on the host's side; the port has no way to wait for that.
            pending = b""
            time.sleep(PAUSE_S)


def main() -> None:
    """Wait for the port to appear, then serve it."""
    while not PORT.exists():
        time.sleep(PAUSE_S)
    serve(os.open(PORT, os.O_RDWR | os.O_CLOEXEC))


if __name__ == "__main__":
    main()
