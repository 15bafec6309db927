"""One fault in one installation, and what has to hold afterwards."""

from install.crashnode import CrashNode
from support.campaign import KEPT, Case


def count_events(node: CrashNode) -> list[str]:
    """Install once without a fault, and return the writes and flushes of it."""
    node.reset()
    with node.record_mounted():
        node.plan()  # the mount was not of the installation
        done = node.install()
        events = node.events()
    assert done.returncode == 0, done.stderr
    node.check_complete()
    return events


def run_case(node: CrashNode, case: Case) -> str:
    """Let one installation meet its fault; return what became of the passive slot, "void" or "complete".

    Raises:
        AssertionError: the booted slot was touched, the passive one is neither, or a second installation failed.
    """
    node.reset()
    with node.record_mounted():
        node.plan(**case._asdict())
        first = node.install()
        # What the unmount writes is no part of the installation, and how much that is depends on who synced before.
        node.plan(over=True)
        if case.event is None:
            node.plan(cut=True)
        node.check_booted_slot()
    # Power is back; what was in the disks' caches is lost, or not.
    node.plan(keep=KEPT.get(case.mode, 1))
    with node.record_mounted():
        outcome = _judge(node)
        if first.returncode == 0:
            # What was reported as done has to be there, whatever happened after that.
            assert outcome == "complete", (case, first)
        else:
            assert first.returncode in {73, 74, 77}, (case, first)
        second = node.install()
        assert second.returncode == 0, (case, second)
        node.check_complete()
        assert node.node.record("B") == "installed", case
    return outcome


def _judge(node: CrashNode) -> str:
    recorded = node.node.record("B")
    committed = node.commit()
    if recorded == "installed":
        assert committed.returncode == 0, committed
        node.check_complete()
        node.node.set_block(boot_alternative="A", boot_cycle="stable")
        return "complete"
    assert (committed.returncode, "NOTHING_INSTALLED" in committed.stderr) == (69, True), (recorded, committed)
    node.check_booted_slot()
    return "void"
