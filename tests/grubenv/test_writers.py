"""Many writers at once, and a kill at every system call."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import grubenv
from grubenv import EnvBlock, view
from tests.grubenv.blocks import STATE, block
from tests.grubenv.crash.operations import CROWDED

ROOT = Path(grubenv.__file__).parents[1]
WRITERS = 50
CHANGES = 3
WRITE = """
import os, sys
import grubenv
path, number, changes, gate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.read(gate, 1)
for turn in range(changes):
    grubenv.update(path, {"shared": f"{number}.{turn}", f"own{number}": str(turn)}, timeout_s=300)
"""


def test_fifty_writers_lose_nothing(tmp_path: Path) -> None:
    """Each adds a name of its own and changes a shared one; a reader only ever sees whole blocks."""
    path = tmp_path / "grubenv"
    path.write_bytes(block(b"shared=none\n", 2048))
    gate_read, gate_write = os.pipe()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, path, str(number), str(CHANGES), str(gate_read)],
            pass_fds=[gate_read],
            cwd=ROOT,
        )
        for number in range(WRITERS)
    ]
    os.close(gate_read)
    os.close(gate_write)  # all begin at once
    last: dict[str, int] = {}
    readings = 0
    while any(writer.poll() is None for writer in writers) or not readings:
        found = dict(EnvBlock.parse(grubenv.read_bytes(path)))
        number, _, turn = found.pop("shared").partition(".")
        own = {name: int(value) for name, value in found.items()}
        assert own.keys() >= last.keys()
        assert all(own[name] >= value for name, value in last.items())
        assert number == "none" or own[f"own{number}"] == int(turn)
        last = own
        readings += 1
    assert all(writer.wait() == 0 for writer in writers)
    found = grubenv.query(path)
    assert {name for name, value in found.items() if value == str(CHANGES - 1)} >= {f"own{i}" for i in range(WRITERS)}
    assert readings > WRITERS


KILLED = """
import sys
import grubenv.updating, grubenv.repairing
open("/dev/null").close()
{operation}
"""
OPERATIONS = {
    "update": (
        block(b"boot_alternative=A\nboot_cycle=stable\n"),
        'grubenv.update(sys.argv[1], {"boot_alternative": "B", "boot_cycle": "first_boot"})',
    ),
    "staged": (
        CROWDED,
        'new = {"boot_alternative": "B", "boot_cycle": "first_boot"}; '  # noqa: ISC004
        "grubenv.update(sys.argv[1], new, required_in_first_sector=new)",
    ),
    "repair": (block(b"boot_alternative=B\nboot_cycle=first_boot", 300), "grubenv.repair(sys.argv[1])"),
}
CHANGING = {
    "write",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "fsync",
    "fdatasync",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "fchmod",
    "fchown",
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_kill_at_any_system_call_leaves_old_or_new(tmp_path: Path, name: str) -> None:
    if not shutil.which("strace"):
        pytest.skip("not installed: strace")
    before, code = OPERATIONS[name]
    path = tmp_path / "grubenv"
    program = [sys.executable, "-S", "-c", KILLED.format(operation=code), path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    path.write_bytes(before)
    traced = subprocess.run(
        ["strace", "-o", "/dev/stdout", *program], capture_output=True, text=True, check=False, env=environment
    )
    if traced.returncode:
        pytest.skip(f"strace cannot trace here: {traced.stderr}")
    calls = [match[1] for line in traced.stdout.splitlines() if (match := re.match(r"(\w+)\(", line))]
    start = next(index for index, line in enumerate(traced.stdout.splitlines()) if '"/dev/null"' in line)
    interesting = calls[start:]
    # Which of the two also depends on whether the kernel has written the file already.
    assert "flock" in interesting
    assert {"fsync", "fdatasync"} & set(interesting)
    finals = set()
    for index, call in enumerate(interesting):
        if call == "exit_group" or (name == "repair" and call not in CHANGING):
            continue  # a repair makes hundreds of calls; a kill at one of the others leaves what the last one left
        number = calls[: start + index + 1].count(call)
        path.write_bytes(before)
        killed = subprocess.run(
            [
                "strace",
                "-o",
                "/dev/null",
                "-e",
                f"trace={call}",
                "-e",
                f"inject={call}:signal=KILL:when={number}",
                *program,
            ],
            capture_output=True,
            check=False,
            env=environment,
        )
        after = path.read_bytes()
        assert view.variables(after) in (view.variables(before), {**view.variables(before), **STATE}), (call, number)
        finals.add((killed.returncode != 0, after != before))
    assert (True, False) in finals
    assert (True, True) in finals
    subprocess.run(program, check=True, env=environment)
    assert view.variables(path.read_bytes()).items() >= STATE.items()
