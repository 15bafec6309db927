"""The power goes at any write of an update: the next run goes on, commits once, and sets nothing aside."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manageboot.boot import envblock
from manageboot.channel import turn
from manageboot.events import history
from manageboot.system import files
from unattended.updatenode import UpdateNode, update_node

pytestmark = pytest.mark.devices


class PowerCut(BaseException):
    """Nothing happens after it, so nobody may catch it."""


class Power:
    """Counts the writes that last, and ends with one of them, before or after it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.cut: tuple[int, bool] | None = None
        for module, name in ((files, "replace"), (envblock, "write"), (history, "append")):
            patch.setattr(module, name, self._counted(getattr(module, name)))

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            at, after = self.cut or (-1, False)
            number = len(self.done)
            first = arguments[0]
            self.done.append(Path(first).name if isinstance(first, str) else write.__name__)
            if self.cut is not None and (number > at or (number == at and not after)):
                raise PowerCut
            result = write(*arguments, **named)
            if number == at:
                raise PowerCut
            return result

        return counted


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UpdateNode]:
    (tmp_path / "machine-id").write_text("0123456789abcdef" * 2)
    monkeypatch.setattr(turn, "_MACHINE_ID", str(tmp_path / "machine-id"))
    with update_node(tmp_path) as node:
        node.publish(1)
        shutil.copytree(tmp_path / "boot", tmp_path / "boot.before")
        yield node


def cut(node: UpdateNode, power: Power, at: int, *, after: bool) -> bool:
    """Update a node as it was at first, with a cut; say whether it came to that. Then it boots, and updates again."""
    directory = node.directory
    for name in ("boot", "state", "run"):
        shutil.rmtree(directory / name, ignore_errors=True)
    shutil.copytree(directory / "boot.before", directory / "boot")
    node.node.reboots.unlink(missing_ok=True)
    power.done, power.cut = [], (at, after)
    try:
        assert node.run("update") == 0
        return False
    except PowerCut:
        power.cut = None
    shutil.rmtree(directory / "run")
    committed = node.node.block()["boot_cycle"] == "first_boot"
    # GRUB has not booted since, as the kernel command line tells, so a commit waits for that.
    assert node.update() == ("pending" if committed else "committed"), (at, after, power.done)
    assert (node.holds("B"), node.node.block()["boot_cycle"]) == ("1.1", "first_boot"), (at, after)
    assert node.remembered()["set_aside"] == []
    assert node.remembered()["committed"]["version"] == "1.1"
    return True


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_between_installation_and_commit(node: UpdateNode, monkeypatch: pytest.MonkeyPatch, after: bool):
    power = Power(monkeypatch)
    assert node.run("update") == 0
    block = power.done.index("grubenv")
    # What is written down before the block: that this release is committed, and that a reboot follows.
    assert power.done[block - 2 : block] == ["manageboot.update", "reboot-asked"]
    assert cut(node, power, block - 2, after=after)


@pytest.mark.long
def test_a_cut_at_any_write(node: UpdateNode, monkeypatch: pytest.MonkeyPatch):
    power = Power(monkeypatch)
    cuts = 0
    while cut(node, power, cuts, after=False):
        assert cut(node, power, cuts, after=True)
        cuts += 1
    assert cuts >= 12
