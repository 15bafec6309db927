"""Fixtures of all tests, and the rule that CI skips nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.node import LoopNode

FUZZ_EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
"""How many examples `make fuzz` tries of each property, new ones each time; all other runs try the same ones."""

# How long a draw takes is a matter of what else the machine does.
settings.register_profile(
    "manageboot",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(FUZZ_EXAMPLES or 100),
    derandomize=FUZZ_EXAMPLES is None,
    database=None,
    print_blob=True,
)
settings.load_profile("manageboot")

IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}


VIRTUAL_MACHINES = "tests/qemu/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest: virtual machines, then the walks of the protocol. All else goes beside them."""
    longest = (VIRTUAL_MACHINES, "tests/protocol/")
    items.sort(key=lambda item: [not item.nodeid.startswith(place) for place in longest])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give all virtual machines to one process, so that they have a core to themselves, and each other file to any."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return VIRTUAL_MACHINES if nodeid.startswith(VIRTUAL_MACHINES) else nodeid.partition("::")[0]

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI, turn a skip into a failure: what was not tried is not known to work."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI that is a failure: {report.longrepr}"
    return report


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LoopNode]:
    """A node without a virtual machine: slots on loop devices, a block and a kernel command line in files."""
    with LoopNode(tmp_path) as running:
        yield running
