"""The daemon under real systemd, from the commit to the confirm; `test_daemon_faults.py` has all that can go wrong."""

import pytest

from qemu_harness.cache import Cache
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import NodeImages
from support.trials import (
    INSTALL_DEADLINE_S,
    assert_confirmed,
    configuration,
    lay_into,
    reboot_into,
    status,
    wait_for,
)

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1800)]

RSS_LIMIT_KIB = 30 * 1024


def test_a_healthy_trial_stays(cache: Cache, node_images: NodeImages) -> None:
    with VirtualMachine(cache, node_images.disk, media=node_images.media) as machine:
        machine.wait_until_up()
        machine.check("manageboot upgrade-install /media/update-v2.tar.zst", timeout_s=INSTALL_DEADLINE_S)
        lay_into(
            machine,
            "B",
            {
                "manageboot/manageboot.toml": configuration(),
                "manageboot/health.d/required/10-root": "#!/bin/sh\ntest -e /opt/ic/share/version.txt\n",
                # In the sandbox, between the daemon's first write to the block and the next one.
                "manageboot/health.d/required/20-lock": "#!/bin/sh\ntouch --date=@0 /run/grubenv\n",
                # The daemon does not wait for /var, which is mounted over what its sandbox has there.
                "systemd/system/var.mount.d/late.conf": "[Unit]\nAfter=manageboot.service\n",
                "manageboot/health.d/wanted/10-clock": "#!/bin/sh\necho the clock is off >&2; exit 1\n",
            },
        )
        # A wanted check fails: it is confirmed, and warned of.
        reboot_into(machine, "upgrade-commit")
        wait_for(machine, "manageboot history | grep -q health_warning")
        assert_confirmed(machine, "B", told=["committed", "trial_started", "confirmed", "health_warning"])
        daemon = status(machine)["daemon"]
        assert (daemon["running"], daemon["health"]["verdict"], daemon["devices"]) == (True, "good", {})
        assert [(check["name"], check["result"]) for check in daemon["health"]["checks"]] == [
            ("boot-complete.target", "passed"),
            ("required/10-root", "passed"),
            ("required/20-lock", "passed"),
            ("wanted/10-clock", "failed"),
        ]
        assert daemon["health"]["checks"][-1]["text"] == "exit status 1\nthe clock is off"
        assert [problem["code"] for problem in status(machine)["problems"]] == ["CHECK_FAILED"]
        # It was there before /var, and has written its record there.
        shown = machine.check("systemctl show -P ActiveEnterTimestampMonotonic manageboot var.mount").stdout
        began, mounted = shown.split()
        assert int(began) < int(mounted)
        assert status(machine)["slots"]["B"]["record"]["state"] == "confirmed"
        # It took the lock of the block that the verbs take: a file came there, and went.
        [mode, changed] = machine.check("stat --format='%a %Y' /run/grubenv").stdout.split()
        assert (mode, int(changed) > 0) == ("700", True)
        # In its sandbox it is as small as elsewhere, and systemd knows what it does.
        shown = machine.check("systemctl show -P StatusText -P NRestarts -P ActiveState manageboot").stdout.splitlines()
        assert shown == ["slot B is booted and trusted", "0", "active"]
        [size] = machine.check("grep VmRSS /proc/$(systemctl show -P MainPID manageboot)/status").stdout.splitlines()
        assert int(size.split()[1]) < RSS_LIMIT_KIB
        assert machine.check("systemctl is-system-running").stdout == "running\n"

        machine.power_off()
