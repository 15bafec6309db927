"""Fixtures of all tests, and the rule that CI skips nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.node import LoopNode

# How long a draw takes is a matter of what else the machine does.
settings.register_profile("manageboot", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("manageboot")

IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}


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
