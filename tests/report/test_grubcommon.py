"""Whether Debian's grub-common.service rewrites a node's block: as systemctl leaves its units."""

import subprocess
from pathlib import Path

import pytest

from manageboot import config
from manageboot.report import doctor, grubcommon
from support.node import LoopNode


def systemctl(root: Path, *words: str) -> None:
    subprocess.run(["systemctl", f"--root={root}", *words, grubcommon.UNIT], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system that has the service, which nobody has enabled."""
    monkeypatch.setattr(grubcommon, "UNITS", str(tmp_path / "etc/systemd/system"))
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (units / grubcommon.UNIT).write_text("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
    return tmp_path


def test_it_rewrites_the_block_that_it_knows_while_it_is_enabled(root: Path, monkeypatch: pytest.MonkeyPatch):
    block, other = root / "grubenv", root / "other"
    for path in (block, other):
        path.write_text("")

    def rewrites(path: Path) -> bool:
        return grubcommon.rewrites(str(path))

    monkeypatch.setattr(grubcommon, "BLOCK", str(block))
    assert not rewrites(block)
    systemctl(root, "enable")
    assert rewrites(block)
    assert not rewrites(other)
    (root / "link").symlink_to(block)
    assert rewrites(root / "link")
    systemctl(root, "mask")
    assert not rewrites(block)
    systemctl(root, "unmask")
    assert rewrites(block)
    systemctl(root, "disable")
    assert not rewrites(block)


@pytest.mark.devices
def test_doctor_warns_of_it(node: LoopNode, root: Path, monkeypatch: pytest.MonkeyPatch):
    systemctl(root, "enable")
    monkeypatch.setattr(grubcommon, "BLOCK", str(node.grubenv))
    report = doctor.examine(config.load(str(node.config)))
    [finding] = [one for one in report["findings"] if one["code"] == "BLOCK_REWRITTEN"]
    assert "systemctl mask grub-common.service" in finding["remedy"]
