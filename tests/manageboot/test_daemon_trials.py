"""Trials that do not go by the book: who may call one good, and who has given which one up. Turn by turn."""

from pathlib import Path

import pytest

from manageboot import record
from manageboot.protocol import Content, Slot
from manageboot.record import SlotRecord
from support.daemonnode import DaemonNode, start, stepped, turn

pytestmark = pytest.mark.grub


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DaemonNode:
    return stepped(DaemonNode(tmp_path), monkeypatch)


@pytest.mark.parametrize("shipped", [True, False])
def test_a_block_that_is_empty_trusts_no_slot(node: DaemonNode, shipped: bool):
    """It would say slot A, stable; and slot A is on trial."""
    state = str(node.directory / "state")
    node.configure(policy="external", deadline="900")
    record.store(state, {Slot.A: SlotRecord(Content.COMMITTED, version="2", nonce="n1")})
    node.set_block(boot_alternative="A", boot_cycle="failsafe_check", mb_nonce="n1", mb_ack="n1", mb_tried="1")
    if shipped:
        node.boot("A", "first_boot", try_="1")
    else:
        (node.directory / "cmdline").write_text("dfinity.system=A\n")
    node.set_unit("local-fs.target", "activating 3")
    daemon = start(node)
    turn(daemon, 10.0)
    node.grubenv.write_bytes(b"")
    node.set_unit("local-fs.target", "active")
    turn(daemon, 30.0, 40.0)
    assert record.load(state)[Slot.A].content is Content.COMMITTED
    assert "confirmed" not in node.events()
