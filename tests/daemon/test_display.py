"""What the daemon shows of itself, where it can't be written at first."""

import logging
from pathlib import Path

import pytest

from manageboot import config
from manageboot.daemon import statefile
from manageboot.daemon.display import Display
from manageboot.daemon.memory import Memory
from manageboot.daemon.statefile import Shown
from support.daemonnode import DaemonNode

pytestmark = pytest.mark.grub


def test_what_could_not_be_written_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    node = DaemonNode(tmp_path)
    settings = config.load(str(node.config))
    display = Display(settings, Shown())
    # The directory is missing.
    for memory in (Memory(), Memory(), Memory(arrived=True)):
        display.store(memory)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == [f"cannot write {node.run_directory}/daemon.json: `status` and the next daemon are behind"]
    node.run_directory.mkdir()
    # Nothing has changed since.
    display.store(Memory(arrived=True))
    assert statefile.load(settings.state.runtime_directory)[0] == Memory(arrived=True)
    (node.run_directory / "daemon.json").unlink()
    # What is there already is not written again and again.
    display.store(Memory(arrived=True))
    assert not (node.run_directory / "daemon.json").exists()
