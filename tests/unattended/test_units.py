"""The timer and its service: systemd takes them, what is left open has a reason, and no window is missed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from grubenv.writing.lock import RUN_DIRECTORY
from manageboot.report import updating
from support.hostile import Hostile, honest
from support.images import make_update
from support.loop import run
from unattended.updatenode import update_node

UNITS = Path(__file__).parents[2] / "systemd-units"
SERVICE, TIMER = UNITS / "manageboot-update.service", UNITS / updating.TIMER
EXPOSURE_LIMIT = 4.0


def values(unit: Path, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)


def test_systemd_takes_the_units():
    command = ["systemd-analyze", "verify", "--man=no", str(TIMER), str(SERVICE)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if "manageboot-update" in line]
    assert [line for line in lines if "not executable" not in line] == []


def test_what_the_service_leaves_open_has_a_reason():
    report = run("systemd-analyze", "security", "--offline=true", "--no-pager", SERVICE)
    found = re.search(r"Overall exposure level for manageboot-update.service: ([0-9.]+)", report)
    assert found is not None and float(found[1]) <= EXPOSURE_LIMIT
    comments = " ".join(line for line in SERVICE.read_text().splitlines() if line.startswith("#"))
    opened = {match[1] for match in re.finditer(r"^✗ (\w+)=", report, re.MULTILINE)}
    # As in manageboot.service. ProtectHome= and DeviceAllow= have the reason above them.
    told = {"User", "DeviceAllow", "RestrictAddressFamilies", "UMask", "RootDirectory", "ProtectHome"}
    assert {name for name in opened - told if f"{name}=" not in comments} == set()


def test_it_is_off_and_no_two_runs_are_more_than_an_hour_apart():
    """The delay is one of the node, not of each run; otherwise an hour's window could pass between two runs."""
    assert values(TIMER, "OnCalendar") == ["hourly"]
    assert values(TIMER, "RandomizedDelaySec") == ["1h"]
    assert (values(TIMER, "FixedRandomDelay"), values(TIMER, "Persistent")) == (["yes"], ["yes"])
    assert updating.INTERVAL_S == 3600
    assert (values(SERVICE, "WantedBy"), values(TIMER, "WantedBy")) == ([], ["timers.target"])


def test_it_runs_the_verb_beside_the_daemon_with_the_same_locks():
    assert (values(SERVICE, "Type"), values(SERVICE, "ExecStart")) == (["oneshot"], ["manageboot update"])
    # Otherwise its end would remove the daemon's directory, with the lock in it.
    assert (values(SERVICE, "RuntimeDirectory"), values(SERVICE, "RuntimeDirectoryPreserve")) == (
        ["manageboot"],
        ["yes"],
    )
    [writable] = values(SERVICE, "ReadWritePaths")
    assert f"-{RUN_DIRECTORY}" in writable.split()
    assert values(SERVICE, "TimeoutStartSec") == []


def with_its_capabilities() -> list[str]:
    """How to start a program with the capabilities that the service keeps, and no others."""
    kept = [word for line in values(SERVICE, "CapabilityBoundingSet") for word in line.split()]
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in kept)])
    return ["setpriv", "--no-new-privs", f"--bounding-set={bounds}", "--inh-caps=-all"]


@pytest.mark.long
@pytest.mark.devices
def test_the_capabilities_that_the_service_keeps_do(tmp_path: Path):
    with update_node(tmp_path) as node:
        node.publish(1)
        command = [*with_its_capabilities(), *node.node.command("update")]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        assert (done.returncode, node.reboots(), node.holds("B")) == (0, 1, "1.1"), done.stderr
        # Nothing was done without, and told in a warning only.
        assert done.stderr == "manageboot: slot B with release 1.1 is committed, the node reboots\n"


@pytest.mark.long
@pytest.mark.devices
def test_they_do_for_what_is_fetched(tmp_path: Path):
    """The process that fetches is locked in with them, and ended as another user's."""
    make_update(tmp_path, boot_size=100_000, root_size=200_000, name="update-img.tar")
    with Hostile(honest, content=(tmp_path / "update-img.tar").read_bytes()) as server:
        command = [sys.executable, "-m", "manageboot", "inspect", f"{server.url}update-img.tar", "--json"]
        done = subprocess.run(
            [*with_its_capabilities(), *command], check=False, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done.stderr
