"""The cycle as a test: one node, two upgrades, of which one is confirmed and one falls back; all of it is real."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from manageboot.events import history
from qemu_harness.cache import Cache
from qemu_harness.cycle import STEPS, V2, Expectation, Step, commit, run_cycle
from qemu_harness.firmware import Firmware
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages
from qemu_harness.offline import read_environment, read_file
from support.trials import assert_confirmed, configuration, lay_into, reboot_into, status, wait_for

RSS_LIMIT_KIB = 30 * 1024
HEALTHY = {
    "manageboot/manageboot.toml": configuration(),
    "manageboot/health.d/required/10-root": "#!/bin/sh\ntest -e /opt/ic/share/version.txt\n",
    # In the sandbox, between the daemon's first write to the block and the next one.
    "manageboot/health.d/required/20-lock": "#!/bin/sh\ntouch --date=@0 /run/grubenv\n",
    # The daemon does not wait for /var, which is mounted over what its sandbox has there.
    "systemd/system/var.mount.d/late.conf": "[Unit]\nAfter=manageboot.service\n",
    # A wanted check fails: it is confirmed, and warned of.
    "manageboot/health.d/wanted/10-clock": "#!/bin/sh\necho the clock is off >&2; exit 1\n",
}
"""What is laid into the slot whose trial the daemon is to confirm."""


def commit_for_the_daemon(machine: VirtualMachine) -> str:
    """Commit, with health checks in the new slot, and see all that the daemon does until the trial is confirmed."""
    lay_into(machine, "B", HEALTHY)
    reboot_into(machine, "upgrade-commit")
    wait_for(machine, "manageboot history | grep -q health_warning")
    assert_confirmed(machine, "B", told=["committed", "trial_started", "confirmed", "health_warning"])
    seen = status(machine)
    daemon = seen["daemon"]
    assert (daemon["running"], daemon["health"]["verdict"], daemon["devices"]) == (True, "good", {})
    assert [(check["name"], check["result"]) for check in daemon["health"]["checks"]] == [
        ("boot-complete.target", "passed"),
        ("required/10-root", "passed"),
        ("required/20-lock", "passed"),
        ("wanted/10-clock", "failed"),
    ]
    assert daemon["health"]["checks"][-1]["text"] == "exit status 1\nthe clock is off"
    assert [problem["code"] for problem in seen["problems"]] == ["CHECK_FAILED"]
    # It was there before /var, and has written its record there.
    shown = machine.check("systemctl show -P ActiveEnterTimestampMonotonic manageboot var.mount").stdout
    began, mounted = shown.split()
    assert int(began) < int(mounted)
    assert seen["slots"]["B"]["record"]["state"] == "confirmed"
    # It took the lock of the block that the verbs take: a file came there, and went.
    [mode, changed] = machine.check("stat --format='%a %Y' /run/grubenv").stdout.split()
    assert (mode, int(changed) > 0) == ("700", True)
    # In its sandbox it is as small as elsewhere, and systemd knows what it does.
    shown = machine.check("systemctl show -P StatusText -P NRestarts -P ActiveState manageboot").stdout.splitlines()
    assert shown == ["slot B is booted and trusted", "0", "active"]
    [size] = machine.check("grep VmRSS /proc/$(systemctl show -P MainPID manageboot)/status").stdout.splitlines()
    assert int(size.split()[1]) < RSS_LIMIT_KIB
    assert machine.check("systemctl is-system-running").stdout == "running\n"
    return ""


DAEMON_STEPS = (
    *STEPS[:2],
    Step(
        "commit v2",
        "manageboot upgrade-commit; the node reboots, and its daemon finds v2 good",
        commit_for_the_daemon,
        Expectation(2, "B", V2, "B", "stable", "idle", "confirmed", f"confirmed {V2}"),
    ),
    *STEPS[4:],
)
"""The cycle with the daemon in the place of the verb `confirm`."""


def check_two_upgrades(
    cache: Cache,
    images: NodeImages,
    firmware: Firmware,
    tmp_path: Path,
    steps: Sequence[Step] = STEPS,
    *,
    write_log: Path | None = None,
) -> list[int]:
    """Take a node through the cycle, and compare what it, GRUB and its disk say.

    Args:
        cache: of the harness.
        images: of the node.
        firmware: that its disk is made for.
        tmp_path: where the disk is left, as `disk.img`.
        steps: of the cycle.
        write_log: where to keep what reaches the disk.

    Returns:
        How long the log was at the end of each step, in bytes.
    """
    announced: list[str] = []
    results, ends = [], []
    with VirtualMachine(cache, images.disk, media=images.media, firmware=firmware, write_log=write_log) as machine:
        # Every step checks the node before it is yielded; a step that does not hold raises.
        for result in run_cycle(machine, lambda step: announced.append(step.name), steps):
            results.append(result)
            ends.append(write_log.stat().st_size if write_log else 0)
        assert machine.check("systemctl is-system-running").stdout == "running\n"
        # The service found out what became of each trial, and why the second did not stay.
        assert results[-1].seen.status["fallback"] == {"slot": "A", "cause": "died-later"}
        wait_for(machine, "manageboot history | tail -n1 | grep -q 'fallback.*died-later'")
        machine.power_off()
        machine.export_disk(tmp_path / "disk.img")

    names = [step.name for step in steps]
    assert announced == names
    assert [result.step.name for result in results] == names
    first_tries = sum(step.action is commit for step in steps)
    assert [result.remark for result in results if result.remark] == [
        *["GRUB's save_env: boot_cycle first_boot -> failsafe_check"] * first_tries,
        "GRUB's save_env: boot_cycle failsafe_check -> stable",
    ]
    # What the node said of its block is what GRUB finds on the disk.
    assert read_environment(tmp_path / "disk.img") == results[-1].seen.variables
    check_history(tmp_path / "disk.img")
    return ends


def check_history(disk: Path) -> None:
    """What happened in both slots is on GRUB's own file system, where GRUB reads it, and each event in one sector."""
    content = read_file(disk, "grub", "/manageboot.log")
    found = history.parse(content)
    assert (len(content), found.damaged) == (65536, 0)
    verbs = [
        (entry.event, entry.slot) for entry in found.entries if entry.event in {"installed", "committed", "confirmed"}
    ]
    assert verbs == [("installed", "B"), ("committed", "B"), ("confirmed", "B"), ("installed", "A"), ("committed", "A")]
    assert len({entry.boot for entry in found.entries}) >= 2
    with disk.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        for entry in found.entries:
            assert raw.find(history.encode(entry)) % 512 == 0
