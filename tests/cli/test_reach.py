"""Each code word is reached through the command line: a table has a way to each, and one without a way fails."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.channelways import CHANNEL, CHANNEL_DEVICES
from cli.fetchways import FETCHES
from cli.releaseways import RELEASES
from cli.ways import DEVICES, HELD, PLAIN, BareNode, Patch, update_of
from manageboot.cli import explain, main
from support.grubemu import SHIPPED
from support.node import BLOCK_LINES, LoopNode, Node
from support.stoppedguest import StoppedGuest


def fails(node: Node, words: list[str | Path], code: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Run a command line, which has to fail with a code word, as its exit status and its one line tell."""
    status = main.run(["-c", str(node.config), *map(str, words)])
    [kind] = [kind for kind in explain.error_kinds() if kind.code == code]
    shown = capfd.readouterr().err.splitlines()
    [line] = [line for line in shown if line.startswith("manageboot: error: ")]
    assert re.fullmatch(rf"manageboot: error: cannot .+ \[{code}\]", line), shown
    assert status == kind.exit_code
    hints = [line for line in shown if re.fullmatch("hint: .+", line)]
    assert len(hints) == 1


PLAIN_WAYS = PLAIN | CHANNEL
DEVICE_WAYS = DEVICES | CHANNEL_DEVICES


def test_every_code_word_has_a_way():
    ways = [*PLAIN_WAYS, *RELEASES, *FETCHES, *HELD, *DEVICE_WAYS, "DEVICE_BUSY", "TRUSTED_SLOT", "RECORD_DAMAGED"]
    assert sorted(ways) == sorted(kind.code for kind in explain.error_kinds())


@pytest.mark.parametrize("code", PLAIN_WAYS)
def test_a_code_word(tmp_path: Path, monkeypatch: Patch, capfd: pytest.CaptureFixture[str], code: str):
    node = BareNode(tmp_path)
    fails(node, PLAIN_WAYS[code](node, monkeypatch), code, capfd)


@pytest.mark.parametrize("code", RELEASES)
def test_a_code_word_of_releases(tmp_path: Path, capfd: pytest.CaptureFixture[str], code: str):
    fails(BareNode(tmp_path), RELEASES[code](tmp_path / "published"), code, capfd)


@pytest.mark.parametrize("code", HELD)
def test_a_code_word_of_the_moment(tmp_path: Path, monkeypatch: Patch, capfd: pytest.CaptureFixture[str], code: str):
    node = BareNode(tmp_path)
    with HELD[code](node, monkeypatch) as words:
        fails(node, words, code, capfd)


@pytest.mark.devices
@pytest.mark.parametrize("code", FETCHES)
def test_a_code_word_of_the_network(tmp_path: Path, monkeypatch: Patch, capfd: pytest.CaptureFixture[str], code: str):
    node = BareNode(tmp_path)
    with FETCHES[code](node, monkeypatch) as words:
        fails(node, words, code, capfd)


def test_a_record_that_is_damaged_fails_no_verb_and_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    node = BareNode(tmp_path)
    (node.state / "record.json").write_text("{")
    assert main.run(["-c", str(node.config), "status"]) == 0
    assert "[RECORD_DAMAGED]" in capfd.readouterr().out


@pytest.fixture(scope="module")
def slots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopNode]:
    """A node with devices, which all of them share."""
    with LoopNode(tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.mark.devices
@pytest.mark.parametrize("code", DEVICE_WAYS)
def test_a_code_word_of_the_devices(slots: LoopNode, monkeypatch: Patch, capfd: pytest.CaptureFixture[str], code: str):
    slots.grubenv.write_bytes(BLOCK_LINES.encode().ljust(1024, b"#"))
    fails(slots, DEVICE_WAYS[code](slots, monkeypatch), code, capfd)


@pytest.mark.devices
def test_a_device_that_is_busy(slots: LoopNode, capfd: pytest.CaptureFixture[str]):
    slots.grubenv.write_bytes(BLOCK_LINES.encode().ljust(1024, b"#"))
    with open(slots.devices["B"]["root"], opener=lambda path, flags: os.open(path, flags | os.O_EXCL)):
        fails(slots, ["upgrade-install", update_of(slots)], "DEVICE_BUSY", capfd)


@pytest.mark.devices
@pytest.mark.grub
def test_a_slot_that_is_trusted(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    guest = StoppedGuest(tmp_path, SHIPPED)
    words = ["--disk", guest.disk, "upgrade-install", "--slot", "A", update_of(guest)]
    fails(guest, words, "TRUSTED_SLOT", capfd)
