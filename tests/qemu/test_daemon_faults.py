"""Each way in which a trial can fail or be disturbed, in a real boot, on one node that goes through them all."""

import time
from collections.abc import Iterator

import pytest

from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages, build_node
from qemu_harness.observation import observe
from support.trials import (
    AFTER_ARRIVAL,
    INSTALL_DEADLINE_S,
    arm,
    assert_confirmed,
    assert_fell_back,
    configuration,
    lay_into,
    reboot_into,
    status,
    unit,
    wait_for,
    wait_for_boot,
)

pytestmark = [pytest.mark.qemu, pytest.mark.long, pytest.mark.timeout(3600)]

FULL_KERNEL = "linux-image-amd64"
"""The cloud kernel has no drivers of watchdogs."""
CONFIGURATION = "manageboot/manageboot.toml"
FAULT = "systemd/system/fault.service"
TOLD = ["rolled_back", "trial_started"]

# Confirms, and cuts the power when the block is about to be written, or just was: what the kernel has not written by
# then is lost, which a reset from outside would leave in the host's memory.
CUT = """\
import sys
from manageboot.cli import main; from manageboot.boot import envblock

def cut():
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("b")

def write(*arguments, really=envblock.write):
    if sys.argv[1] == "before":
        cut()
    really(*arguments)
    cut()

envblock.write = write
main.run(["confirm"])
"""


@pytest.fixture(scope="module")
def node(cache: Cache, node_images: NodeImages) -> Iterator[VirtualMachine]:
    """A node whose two slots are confirmed, so that each trial begins with a rollback. Slot B runs."""
    with VirtualMachine(cache, node_images.disk, media=node_images.media) as machine:
        machine.wait_until_up()
        machine.check("manageboot upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)
        yield machine
        machine.power_off()


def test_a_service_of_the_node_confirms(node: VirtualMachine) -> None:
    drop_in = "[Service]\nExecStartPost=-+manageboot confirm\n"
    files = {
        CONFIGURATION: configuration(policy="external"),
        FAULT: unit("exec sleep infinity"),
        f"{FAULT}.d/confirm.conf": drop_in,
    }
    lay_into(node, "B", files)
    reboot_into(node, "upgrade-commit")
    assert_confirmed(node, "B", told=["committed", "trial_started", "confirmed"])


def test_nobody_confirms(node: VirtualMachine) -> None:
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external", deadline="60s")})
    reboot_into(node, "rollback", boots=2)
    assert_fell_back(node, "deadline", told=[*TOLD, "rolled_back", "deadline"])


def test_a_required_unit_fails(node: VirtualMachine) -> None:
    service = "[Service]\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"
    health = 'required_units = ["fault.service"]'
    lay_into(node, "A", {CONFIGURATION: configuration(health=health), FAULT: service})
    reboot_into(node, "rollback", boots=2)
    assert_fell_back(node, "unhealthy", told=[*TOLD, "rolled_back", "health_failed"])
    assert "fault.service failed" in node.check("manageboot history").stdout


def test_a_file_system_never_comes(node: VirtualMachine) -> None:
    """As the var of a guest whose key fails: systemd waits for it without limit, and most of the boot waits too."""
    service = (
        "[Unit]\nDefaultDependencies=no\nBefore=local-fs.target\n"
        "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n"
        "[Install]\nRequiredBy=local-fs.target\n"
    )
    lay_into(node, "A", {CONFIGURATION: configuration(deadline="60s"), FAULT: service})
    reboot_into(node, "rollback", boots=2)
    assert_fell_back(node, "deadline", told=[*TOLD, "rolled_back", "deadline"])


def test_a_device_goes_and_comes_back(node: VirtualMachine) -> None:
    metrics = "/run/node_exporter/collector_textfile/manageboot_devices.prom"
    # The var of the slot that does not run is in nobody's use.
    node.check("partx --delete --nr 6 /dev/vda")
    wait_for(node, "manageboot status | grep -q 'slots.A.var.*DEVICE_LOST'")
    wait_for(node, f"grep -q 'manageboot_device_healthy.*role=.var.,slot=.A.. 0.0' {metrics}")
    node.check("partx --add --nr 6 /dev/vda")
    wait_for(node, "! manageboot status | grep -q DEVICE_LOST")
    wait_for(node, f"! grep -q 'manageboot_device_healthy.* 0.0' {metrics}")


def test_a_required_check_hangs(node: VirtualMachine) -> None:
    check = "#!/bin/sh\necho waiting for a disk\nsleep 1000\n"
    lay_into(node, "A", {CONFIGURATION: configuration(), "manageboot/health.d/required/10-disk": check})
    reboot_into(node, "rollback", boots=2)
    assert_fell_back(node, "unhealthy", told=[*TOLD, "rolled_back", "health_failed"])
    assert "required/10-disk hung: no end after 5 s" in node.check("manageboot history").stdout


def test_the_kernel_panics(node: VirtualMachine) -> None:
    service = unit(f"{AFTER_ARRIVAL}; echo c > /proc/sysrq-trigger")
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external"), FAULT: service})
    reboot_into(node, "rollback", boots=2)
    assert "Kernel panic" in node.serial.boots()[-2]
    assert_fell_back(node, "died-later", told=TOLD)


def test_a_reboot_loop_with_two_tries(node: VirtualMachine) -> None:
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external"), FAULT: unit(f"{AFTER_ARRIVAL}; reboot -ff")})
    # The slot that commits says how many tries there are.
    node.check("printf '[boot]\\ntries = 2\\n' > /run/two.toml")
    reboot_into(node, "-c /run/two.toml rollback", boots=3)
    assert observe(node).variables["mb_tried"] == "2"
    assert_fell_back(node, "died-later", told=[*TOLD, "trial_started"])


def test_power_is_lost_before_a_confirm_is_written(node: VirtualMachine) -> None:
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external")})
    reboot_into(node, "rollback")
    confirm_and_cut(node, "before")
    assert_fell_back(node, "died-later", told=TOLD)


def test_killed_and_restarted_with_the_clock_set_back(node: VirtualMachine) -> None:
    """The deadline stays where it was: it is counted from boot."""
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external", deadline="150s")})
    target = len(node.serial.boots()) + 2
    reboot_into(node, "rollback")
    for _ in range(2):
        before = node.check("systemctl show -P MainPID manageboot").stdout
        node.check("systemctl kill --signal=KILL manageboot")
        wait_for(node, f"pid=$(systemctl show -P MainPID manageboot); test $pid != 0 -a $pid != {before.strip()}")
    wait_for(node, "test $(systemctl show -P ActiveState manageboot) = active")
    node.check("date --set='-1 year'")
    daemon = status(node)["daemon"]
    assert (daemon["running"], daemon["deadline_s"]) == (True, 150.0)
    assert node.check("systemctl show -P NRestarts manageboot").stdout == "2\n"
    uptime_s = float(node.check("cat /proc/uptime").stdout.split()[0])
    assert uptime_s < 145, "the machine is too slow for this test"
    assert status(node)["state"] == "trial"
    began = time.monotonic()
    wait_for_boot(node, target)
    # Not before it, either; what a boot takes is left out of it.
    assert time.monotonic() - began + uptime_s > 150
    assert_fell_back(node, "deadline", told=[*TOLD, "rolled_back", "deadline"])


def test_somebody_is_at_work(node: VirtualMachine) -> None:
    check = "#!/bin/sh\nexit 1\n"
    hold = unit("exec manageboot confirm --hold", after="local-fs.target").replace(
        "After=local-fs.target", "DefaultDependencies=no\nAfter=local-fs.target\nBefore=manageboot.service"
    )
    files = {
        CONFIGURATION: configuration(deadline="30s"),
        FAULT: hold.replace("Type=exec", "Type=oneshot").replace("multi-user.target", "sysinit.target"),
        "manageboot/health.d/required/10-a": check,
    }
    lay_into(node, "A", files)
    target = len(node.serial.boots()) + 2
    reboot_into(node, "rollback")
    node.check("while test $(cut -d. -f1 /proc/uptime) -lt 40; do sleep 1; done", timeout_s=60)
    seen = status(node)
    assert (seen["state"], seen["daemon"]["held"]) == ("trial", True)
    node.check("manageboot confirm --release")
    wait_for_boot(node, target)
    assert_fell_back(node, "deadline", told=[*TOLD, "rolled_back", "deadline"])


def test_power_is_lost_after_a_confirm_was_written(node: VirtualMachine) -> None:
    lay_into(node, "A", {CONFIGURATION: configuration(policy="external")})
    reboot_into(node, "rollback")
    confirm_and_cut(node, "after")
    seen = observe(node)
    assert (seen.slot, seen.status["state"], seen.status["fallback"]) == ("A", "idle", None)


def test_the_orchestrator_restarts_while_a_commit_is_pending(node: VirtualMachine) -> None:
    """It calls confirm in the old slot, which must neither cancel the upgrade nor take its way back."""
    assert observe(node).slot == "A"
    node.check("manageboot upgrade-install /media/update-v3.tar.zst", timeout_s=INSTALL_DEADLINE_S)
    lay_into(node, "B", {CONFIGURATION: configuration()})
    arm(node, "upgrade-commit")
    for _ in range(2):
        done = node.check("manageboot confirm")
        assert "nothing is confirmed" in done.stderr
    assert (status(node)["state"], status(node)["next"]) == ("pending", "B")
    reboot_into(node, "upgrade-commit")
    assert_confirmed(node, "B", told=["committed", "trial_started", "confirmed"])
    assert observe(node).version == "0.1.0-v3"


def test_systemd_hangs(cache: Cache) -> None:
    """A hardware watchdog resets the machine; the example of the documentation arms it."""
    images = build_node(cache, FULL_KERNEL, release=chosen_release())
    watchdog = ("-device", "i6300esb", "-action", "watchdog=reset")
    with VirtualMachine(cache, images.disk, media=images.media, extra_arguments=watchdog) as machine:
        machine.wait_until_up()
        machine.check("manageboot upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)
        # When systemd crashes, it stays there and does nothing any more.
        files = {
            CONFIGURATION: configuration(policy="external"),
            "systemd/system.conf.d/watchdog.conf": "[Manager]\nRuntimeWatchdogSec=20s\n",
            FAULT: unit(f"{AFTER_ARRIVAL}; kill -SEGV 1"),
        }
        lay_into(machine, "B", files)
        reboot_into(machine, "upgrade-commit", boots=2)
        assert_fell_back(machine, "died-later", told=["committed", "trial_started"], to="A")
        machine.power_off()


def confirm_and_cut(machine: VirtualMachine, moment: str) -> None:
    """Cut the power while a confirm is written, and wait for the next boot."""
    target = len(machine.serial.boots()) + 1
    machine.check(["tee", "/run/cut.py"], stdin=CUT.encode())
    machine.check(f"systemd-run --collect --on-active=1 python3 /run/cut.py {moment}")
    wait_for_boot(machine, target)
