"""Each verb does its work when it is started as a caller starts it: it imports what it needs.

Most tests fork a run off a process that has imported everything already (support/forked.py).
"""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from manageboot.cli import usage
from support.images import make_update
from support.node import LoopNode

ELSEWHERE = {
    "daemon": "support/daemonnode.py",
    "init": "setup/test_init.py",
    "release": "publish/test_build.py",
    "update": "unattended/test_units.py",
}
"""Where the others are started."""


class StartedNode(LoopNode):
    """A node that starts the agent, and knows which of its verbs it did."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.verbs: set[str] = set()

    def run(self, *arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
        self.verbs.add(str(arguments[0]))
        command = self.command(*arguments)
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.devices
def test_each_verb(tmp_path: Path):
    update = make_update(tmp_path / "update")
    with StartedNode(tmp_path) as node:
        node.ok("inspect", update)
        node.ok("upgrade-install", update)
        node.ok("upgrade-commit", "--no-reboot")
        node.ok("upgrade-cancel")
        node.ok("upgrade-commit")
        assert node.boot() == "B"
        node.ok("confirm")
        node.ok("rollback", "--no-reboot")
        assert node.ok("next") == "A\n"
        assert node.ok("current") + node.ok("target") == "B\nA\n"
        assert (
            node.ok("current-root") + node.ok("target-root")
            == f"{node.devices['B']['root']}\n{node.devices['A']['root']}\n"
        )
        assert node.status()["slots"]["B"]["record"]["state"] == "confirmed"
        assert "rolled_back" in node.ok("history")
        node.fails("check", tmp_path, status=69, code="UNSIGNED")
        done = node.run("doctor")
        # What it finds is a matter of the file system that the block lies on here.
        assert "boot chain" in (done.stderr or done.stdout)
        node.ok("explain", "UNSOUND")
        node.ok("bootloader", "show")
    assert sorted({*node.verbs, *ELSEWHERE}) == sorted(usage.EXAMPLES)
