"""`manageboot --debug`: what it shows is what is done, and what is done is the same without it."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.images import make_update
from support.node import LoopNode
from support.strace import traced, writes

PREFIX = re.compile(r"manageboot: debug: \d+\.\d{6} ")
OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def split(stderr: str) -> tuple[list[str], str]:
    """The lines of --debug without their beginning, and all else."""
    lines = stderr.splitlines(keepends=True)
    shown = [PREFIX.sub("", line).rstrip("\n") for line in lines if PREFIX.match(line)]
    return shown, "".join(line for line in lines if not PREFIX.match(line))


def content(node: LoopNode) -> dict[str, bytes]:
    """All that the verbs write, without the times and the words of a transaction."""
    devices = {f"{slot}_{part}": node.device_bytes(slot, part) for slot in "AB" for part in node.devices[slot]}
    return {**devices, "grubenv": node.grubenv.read_bytes()}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[LoopNode, LoopNode]]:
    with ExitStack() as stack:
        places = [tmp_path / name for name in ("plain", "debug")]
        for place in places:
            place.mkdir()
        plain, debug = (stack.enter_context(LoopNode(place)) for place in places)
        yield plain, debug


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


@pytest.mark.devices
def test_an_upgrade_is_the_same_with_it(nodes: tuple[LoopNode, LoopNode], update: Path):
    plain, debug = nodes
    shown: list[str] = []
    for words in (["upgrade-install", update], ["upgrade-commit"], ["BOOT"], ["confirm"], ["status", "--json"]):
        if words == ["BOOT"]:
            assert plain.boot() == debug.boot() == "B"
            continue
        one, other = plain.run(*words), debug.run("--debug", *words)
        lines, rest = split(other.stderr)
        shown += lines
        assert other.returncode == one.returncode == 0, other.stderr
        assert rest == one.stderr
        assert lines
        if words[0] != "status":
            assert other.stdout == one.stdout == ""
        assert content(debug) == content(plain)
    assert plain.reboots.read_text() == debug.reboots.read_text() == "r"
    for kind in KINDS:
        assert any(re.fullmatch(kind, line) for line in shown), kind
    for line in shown:
        assert any(re.fullmatch(kind, line) for kind in (*KINDS, LEFT)), line


NAME, BYTES = r"\S+", r"\d+ bytes"
KINDS = (
    r"\d{4}-\d\d-\d\dT.*, manageboot \S+, process \d+ of user 0: .+",
    f"config: {NAME}, over the profile custom",
    f"lock {NAME}, to .+",
    f"lock {NAME}",
    f"unlock {NAME}",
    f"booted: {NAME} says dfinity.system=[AB]",
    f"block: {NAME} is ok: boot_alternative=[AB] boot_cycle={NAME}",
    f"block: {NAME} is to say boot_alternative=[AB] boot_cycle={NAME}",
    r"record: .*(slot [AB] \w+|no slot)",
    "grub: it was not the shipped grub.cfg that booted the node",
    "fallback: none; in the block there is nothing",
    r"may \S+\? (idle|trial): slot [AB] is .*, and the record says that slot [AB] is \w+",
    "yes: the block stays",
    "yes: the block becomes B, first_boot, the node reboots",
    "yes: the block becomes B, stable",
    r"devices: boot is \S+, root is \S+, var is \S+",
    r"install: all of it of update-img.tar.zst goes to slot B",
    rf"open {NAME}: {BYTES}, blocks of 512, (past|through) the cache, the device makes (no )?zeros",
    rf"write {NAME} at \d+, {BYTES}",
    rf"write {NAME} at \d+, {BYTES}, (past|through) the cache",
    rf"write {NAME} at \d+, {BYTES}, flushed",
    rf"write {NAME} at 0, {BYTES}, flushed, read back",
    rf"write {NAME} at 0, {BYTES}",
    rf"zero {NAME} at \d+, {BYTES}",
    rf"read {NAME} at \d+, {BYTES}",
    rf"read {NAME} at 0, {BYTES}, (past|through) the cache",
    f"flush {NAME}",
    f"rename {NAME} to {NAME}",
    rf"record: {NAME} is to say (slot [AB] \w+, )*slot [AB] \w+",
    rf"plan for {NAME}: 512 bytes at 0",
    f"compare {NAME}: what was read back is what was wanted",
    r"event: \w+, slot B: .+",
    r"run: .+",
    r"ended after \d+\.\d{3} s: `.+` exited with 0",
)
"""Every kind of line that an upgrade shows."""
LEFT = rf"leave {NAME} at \d+, {BYTES}: zeros are there"
"""Only of a device that makes no zeros itself."""


@pytest.mark.devices
def test_what_is_shown_is_what_the_kernel_was_asked_for(node: LoopNode, update: Path, tmp_path: Path):
    shown, asked = [], []
    for words in (["upgrade-install", str(update)], ["upgrade-commit", "--no-reboot"]):
        log, trace = tmp_path / "log", tmp_path / "trace"
        with log.open("wb") as stderr:
            subprocess.run(traced(trace, node.command("--debug", *words)), check=True, stderr=stderr, timeout=300)
        lines, _ = split(log.read_text())
        told = [re.match(r"write (\S+) at (\d+), (\d+) bytes", line) for line in lines]
        shown += [(match[1], int(match[2]), int(match[3])) for match in told if match]
        asked += writes(trace)
    block, record, history = str(node.grubenv), f"{node.state}/record.json.new", f"{node.grubenv.parent}/manageboot.log"
    for ours in (block, record, history, f"{history}.new", *node.devices["B"].values()):
        assert [one for one in shown if one[0] == ours] == [one for one in asked if one[0] == ours], ours
    count = Counter(path for path, _, _ in shown)
    assert (count[block], count[record], count[history], count[f"{history}.new"]) == (1, 3, 1, 1)
    assert count[node.devices["B"]["boot"]] > 1


@pytest.mark.devices
def test_writes_and_zeros_cover_all_of_an_image(node: LoopNode, update: Path):
    lines, _ = split(node.run("--debug", "upgrade-install", update).stderr)
    size = (update.parent / "root.img").stat().st_size
    root = node.devices["B"]["root"]
    done = [re.match(rf"(?:write|zero|leave) {root} at (\d+), (\d+) bytes", line) for line in lines]
    end = 0
    for offset, length in sorted((int(match[1]), int(match[2])) for match in done if match):
        assert offset <= end
        end = max(end, offset + length)
    assert end == size


@pytest.mark.devices
def test_a_command_does_the_same_when_it_is_pasted(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    lines, _ = split(node.run("--debug", "upgrade-commit").stderr)
    [command] = [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]
    assert node.reboots.read_text() == "r"
    subprocess.run(["sh", "-c", command], check=True, timeout=60)
    assert node.reboots.read_text() == "rr"
    # So does that of the run itself.
    own = next(line for line in lines if ", process " in line).partition(" of user 0: ")[2]
    assert shlex.split(own)[-2:] == ["--debug", "upgrade-commit"]


@pytest.mark.devices
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_nowhere_to_show_it_fails_nothing(node: LoopNode, update: Path, where: str):
    command = node.command("--debug", "upgrade-install", update)
    subprocess.run(["bash", "-c", f'"$@" {where}', "bash", *command], check=True, timeout=300)
    assert node.record("B") == "installed"


@pytest.mark.devices
@pytest.mark.parametrize("is_open", [True, False], ids=["full", "broken"])
def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(node: LoopNode, update: Path, is_open: bool):
    read_end, write_end = os.pipe()
    os.write(write_end, bytes(64 << 10))
    if not is_open:
        os.close(read_end)
    subprocess.run(node.command("--debug", "upgrade-install", update), check=True, stderr=write_end, timeout=300)
    os.close(write_end)
    if is_open:
        os.close(read_end)
    assert node.record("B") == "installed"


@pytest.mark.devices
def test_the_error_finds_room_where_nobody_reads(node: LoopNode, update: Path, tmp_path: Path):
    """Of a pipe that was never read, the end has why it failed."""
    (tmp_path / "bad.tar.zst").write_bytes(update.read_bytes()[:-1000])
    read_end, write_end = os.pipe()
    os.write(write_end, b"nobody reads this\n" * 3000)
    done = subprocess.run(
        node.command("--debug", "upgrade-install", tmp_path / "bad.tar.zst"), check=False, stderr=write_end, timeout=300
    )
    os.close(write_end)
    with os.fdopen(read_end) as file:
        last = file.read().splitlines()[-1]
    assert done.returncode == 65
    assert last.startswith(("manageboot: error: cannot ", "hint: "))


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("yes", True), ("0", False), ("", False), (None, False)])
@pytest.mark.parametrize("program", ["manageboot", "manageboot.icos"])
def test_the_variable_switches_it_on(tmp_path: Path, program: str, value: str | None, is_on: bool):
    (tmp_path / "cmdline").write_text("dfinity.system=A\n")
    (tmp_path / "grubenv").write_bytes(b"# GRUB Environment Block\nboot_alternative=B\n".ljust(1024, b"#"))
    environment = {name: word for name, word in os.environ.items() if name != "MANAGEBOOT_DEBUG"}
    environment |= {"A_PASSWORD": "not to be shown"} | ({} if value is None else {"MANAGEBOOT_DEBUG": value})
    command = [sys.executable, "-m", program, "-f", str(tmp_path / "grubenv"), "guestos", "next"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment)
    assert done.stdout == "B\n"
    lines, rest = split(done.stderr)
    assert rest == ""
    assert bool(lines) is is_on
    assert "not to be shown" not in done.stderr
    if is_on:
        assert lines[1:] == [
            "config: no file, over the profile guestos",
            f"block: {tmp_path}/grubenv is ok: boot_alternative=B boot_cycle=stable",
        ]


@pytest.mark.devices
def test_a_refusal_shows_what_it_was_asked(node: LoopNode):
    done = node.run("--debug", "upgrade-commit")
    lines, rest = split(done.stderr)
    assert rest.startswith("manageboot: error: cannot upgrade-commit slot B: nothing is installed there ")
    asked = lines.index(
        "may upgrade-commit? idle: slot A is booted and trusted, and the record says that slot B is void"
    )
    assert lines[asked + 1] == "no: NOTHING_INSTALLED"


@pytest.mark.devices
def test_the_documented_lines_are_shown(node: LoopNode, update: Path):
    [excerpt] = re.findall(r"```\n\$ manageboot --debug upgrade-commit --no-reboot\n(.*?)```", OPERATIONS, re.DOTALL)
    node.ok("upgrade-install", update)
    shown = node.run("--debug", "upgrade-commit", "--no-reboot").stderr
    lines = "".join(f"{plain(line)}\n" for line in shown.splitlines())
    parts = ["".join(f"{plain(line)}\n" for line in part.splitlines()) for part in excerpt.split("…\n")]
    assert re.fullmatch(".*?".join(map(re.escape, parts)), lines, re.DOTALL)


def plain(line: str) -> str:
    """A line without what differs from node to node: paths, numbers, times."""
    line = re.sub(r", process .*", "", line)
    return re.sub(r"\d+", "N", re.sub(r"(?<![\w.])/[\w./-]+", "PATH", line))
