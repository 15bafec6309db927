"""What a program asked the kernel to write, as strace saw it."""

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

_CALLS = {
    "write": re.compile(r"\bwrite\(\d+<([^>]+)>, .*, ()\d+\) += (\d+)$"),
    "pwrite64": re.compile(r"\bpwrite64\(\d+<([^>]+)>, .*, \d+, (\d+)\) += (\d+)$"),
    "pwritev": re.compile(r"\bpwritev\(\d+<([^>]+)>, .*, \d+, (\d+)\) += (\d+)$"),
    "pwritev2": re.compile(r"\bpwritev2\(\d+<([^>]+)>, .*, \d+, (\d+), 0\) += (\d+)$"),
}
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"\d+ +<\.\.\. \w+ resumed>")


def traced(trace: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs a program and writes its calls to a file."""
    if not shutil.which("strace"):
        pytest.skip("not installed: strace")
    return ["strace", "-f", "-y", "-o", str(trace), "-e", f"trace={','.join(_CALLS)}", *command]


def _calls(trace: Path) -> Iterator[str]:
    """The lines of a trace; a call that another thread's came into is put together again."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        thread = line.partition(" ")[0]
        if line.endswith(_UNFINISHED):
            begun[thread] = line.removesuffix(_UNFINISHED)
        elif (rest := _RESUMED.match(line)) and thread in begun:
            yield begun.pop(thread) + line[rest.end() :]
        else:
            yield line


def writes(trace: Path) -> list[tuple[str, int, int]]:
    """File, offset and length of each write that succeeded; `write` has no offset, and counts as one at 0."""
    found = []
    for line in _calls(trace):
        for pattern in _CALLS.values():
            found += [(match[1], int(match[2] or 0), int(match[3])) for match in [pattern.search(line)] if match]
    return found
