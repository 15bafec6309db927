"""A shell that is typed into as a person does, also while a virtual machine has its terminal."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?=]*[a-zA-Z]|[()][A-Z0-9]|[=>c78])|\r|\x07")
_DONE = "this-command-ended-with"


class Shell:
    """A bash in another root, or wherever the command line leads."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._buffer = ""
        self.transcript = ""

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A virtual machine, too, wherever the test ended.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def run(self, script: str, timeout_s: float) -> str:
        """Run a script that asks nothing, and has to succeed; give all that it said."""
        self._type(f"{{ set -e\n{script}\nset +e; }} </dev/null; echo {_DONE} $?\n")
        return self._end(timeout_s)

    def begin(self, command: str) -> None:
        """Start a command that is talked to."""
        self._type(f"{command}; echo {_DONE} $?\n")

    def answer(self, prompt: str, text: str, timeout_s: float) -> str:
        """Wait for a prompt, and type something; give what was said before the prompt."""
        said = self._wait(prompt, timeout_s)
        self._type(f"{text}\n")
        return said

    def end(self, timeout_s: float) -> str:
        """Wait until the command that is talked to ends."""
        return self._end(timeout_s)

    def _end(self, timeout_s: float) -> str:
        said = self._wait(f"{_DONE} ", timeout_s)
        status = self._wait("\n", timeout_s)
        assert status == "0", f"it ended with {status}:\n{said}"
        return said

    def _type(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def _wait(self, word: str, timeout_s: float) -> str:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        deadline = time.monotonic() + timeout_s
        while word not in self._buffer:
            left_s = deadline - time.monotonic()
            assert word.startswith(_DONE) or f"{_DONE} " not in self._buffer, (
                f"it ended before {word!r}:\n{self._buffer}"
            )
            assert left_s > 0, f"no {word!r} within {timeout_s} s:\n{self.transcript[-3000:]}"
            if select.select([descriptor], [], [], min(left_s, 5))[0]:
                data = os.read(descriptor, 65536)
                assert data, f"the shell ended before {word!r}:\n{self.transcript[-3000:]}"
                text = data.decode(errors="replace")
                self.transcript += _ESCAPES.sub("", text)
                # A sequence may come in two parts.
                self._buffer = _ESCAPES.sub("", self._buffer + text)
        said, _, self._buffer = self._buffer.partition(word)
        return said
