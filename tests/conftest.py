"""Fixtures of all tests, and the rule that CI skips nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import judges, layers, mounts
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

# A suite that was started in the background, or by nohup, has signals ignored; what it starts would ignore them too.
for _number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

IN_CI = os.environ.get("CI", "") not in {"", "0", "false"}


ROOT = Path(__file__).parents[1]

FIRST = ("tests/powercuts/test_life.py", "tests/qemu/test_host.py", "tests/protocol/")
"""What takes longest begins first."""

WATCH = layers.Watch()


def pytest_configure() -> None:
    """Let GRUB of the release judge that DISTRIBUTION names, and keep what the tests mount away from all others.

    Some tests run as nobody, who needs the checkout as well.
    """
    mounts.have_own_mounts()
    mounts.let_others_in(ROOT)
    judges.choose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and mark what needs nothing but Python."""
    items.sort(key=lambda item: [not item.nodeid.startswith(place) for place in FIRST])
    for item in items:
        if not any(item.get_closest_marker(layer) for layer in layers.PROGRAMS):
            item.add_marker("pure")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """Hold nobody to the markers of the last test that used what is taken down."""
    WATCH.leave()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Hold each test to its markers, fixtures included, and leave the signals as they were.

    A verb that runs in this process ignores them from the write that counts on, and what later tests start would too.
    """
    WATCH.enter(marker.name for marker in item.iter_markers())
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    try:
        return (yield)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI, turn a skip into a failure: what was not tried is not known to work."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI that is a failure: {report.longrepr}"
    return report


@pytest.fixture(scope="module", params=judges.RELEASES)
def each_grub(request: pytest.FixtureRequest) -> Iterator[str]:
    """Let GRUB of each release judge, one after the other, whatever DISTRIBUTION names."""
    if not judges.can_be_had(request.param):
        pytest.skip(f"GRUB of {request.param} is unpacked by mmdebstrap, which is not installed")
    with WATCH.aside():
        path = judges.path_of(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", path)
        yield request.param


@pytest.fixture
def node(tmp_path: Path) -> Iterator[LoopNode]:
    """A node without a virtual machine: slots on loop devices, a block and a kernel command line in files."""
    with LoopNode(tmp_path) as running:
        yield running
