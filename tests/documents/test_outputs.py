"""What the README shows of every day is what a node says: its verbs on loop devices, and its errors, word by word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import pages
from documents.pages import ROOT
from documents.playing import matches
from support.grubemu import SHIPPED
from support.images import make_update, pack
from support.node import LoopNode
from support.stoppedguest import StoppedGuest

STEPS = [
    step for fence in pages.fences(ROOT / "README.md") if fence.language == "console" for step in pages.steps(fence)
]

ROW = re.compile(r" +\d+  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00  [AB]  (\w+) +(\S.*)")
"""A line of the history."""


RECOVERY = [
    step
    for fence in pages.fences(ROOT / "docs" / "recovery.md")
    if fence.language == "console"
    for step in pages.steps(fence)
]


def shown(typed: str) -> list[str]:
    """What the README shows after a command, each time that it is typed there."""
    return [step.shown for step in STEPS if step.typed == typed]


def said(node: LoopNode, *words: str) -> str:
    """All that a run says, as on a terminal."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = node.run(*words, cwd=node.directory, env=environment)
    return done.stdout + done.stderr


ANY = {r"/dev/loop\d+": "DEVICE", r"\b[0-9a-f]{12}\b": "HASH", r"\d{4}-\d\d-\d\d \d\d:\d\d": "TIME"}
"""What differs from one run to the next."""


def words(status: str) -> list[str]:
    """The words of a page of `status`: where a line ends depends on how long they are."""
    for pattern, stands_for in ANY.items():
        status = re.sub(pattern, stands_for, status)
    return status.split()


@pytest.mark.devices
def test_every_day(node: LoopNode):
    make_update(node.directory, version="0.1.0-v2")
    commit, refused = shown("manageboot upgrade-commit")
    [install] = shown("manageboot upgrade-install update-img.tar.zst")
    assert matches(install, said(node, "upgrade-install", "update-img.tar.zst"))
    assert matches(commit, said(node, "upgrade-commit"))
    assert node.boot() == "B"
    [status] = shown("manageboot status")
    assert words(said(node, "status").replace(str(node.grubenv), "/boot/grub/grubenv")) == words(status)
    [confirm] = shown("manageboot confirm")
    assert matches(confirm, said(node, "confirm"))
    assert matches(refused, said(node, "upgrade-commit"))
    [block] = shown("grubenv /boot/grub/grubenv list")
    command = [sys.executable, "-m", "grubenv", str(node.grubenv), "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert set(block.splitlines()) <= set(listed.splitlines())
    [rollback] = shown("manageboot rollback")
    assert matches(rollback, said(node, "rollback"))
    [history] = shown("manageboot history")
    for text in (history, said(node, "history").rstrip("\n")):
        rows = [ROW.fullmatch(line) for line in text.splitlines()]
        assert all(rows), text
        first, second = (row[2].partition(" version")[0] for row in rows[:2] if row)
        assert (first, second) == ("Slot B holds", "Slot B is committed")


@pytest.mark.devices
def test_an_image_that_lacks_a_member(node: LoopNode, tmp_path: Path):
    directory = tmp_path / "lacking"
    directory.mkdir()
    (directory / "boot.img").write_bytes(os.urandom(4096))
    pack(directory, "boot.img", name="update-img.tar").rename(node.directory / "update-img.tar")
    [expected] = shown("manageboot inspect update-img.tar")
    assert matches(expected, said(node, "inspect", "update-img.tar"))


@pytest.mark.devices
@pytest.mark.grub
def test_a_stopped_guest(tmp_path: Path):
    guest = StoppedGuest(tmp_path, SHIPPED)
    status, install, commit = RECOVERY[1:4]
    assert [step.typed.split()[-1] for step in (status, commit)] == ["status", "upgrade-commit"]
    # The page has the disk of a host, and the partitions of its guest are larger.
    said_of_it = guest.ok("status").replace(str(guest.disk), "/dev/dm-7")
    assert matches(status.shown, re.sub(r"@@\d+", "@@105906176", said_of_it))
    # The image of this test has no boot_args, of which a line warns before.
    assert matches(install.shown, guest.run("upgrade-install", guest.update("0.1.0-v3")).stderr.splitlines()[-1])
    assert matches(commit.shown, guest.run("upgrade-commit").stderr)
