"""Trials in a virtual node: what is laid into a slot before it boots, and how to see how its trial ended.

A trial begins with `upgrade-commit` after an installation, or with `rollback`, which lets the slot that was confirmed
before boot on trial: the same block, the same GRUB, and no installation each time.
"""

import json
import shlex
import time
from collections.abc import Mapping
from typing import Any

from qemu_harness.machine import BOOT_DEADLINE_S, VirtualMachine
from qemu_harness.observation import observe

INSTALL_DEADLINE_S = 600.0
ARMED_BY = "/run/armed-by.toml"
"""A configuration: what is laid into a slot changes what was installed there."""
METRICS = "/run/node_exporter/collector_textfile/manageboot.prom"
FALLBACK_MESSAGE_ID = "61cda6566c8c4494a6d046bf656ae036"

# The fault waits until the daemon has left its trace and told of it, so that what is seen is always the same.
AFTER_ARRIVAL = "until grep -q boot_told...true /run/manageboot/daemon.json; do sleep 0.5; done"


def configuration(
    *, policy: str = "automatic", deadline: str = "10min", health: str = "", profile: str = "guestos"
) -> str:
    """A configuration for a node of IC-OS that confirms by itself, and has a deadline."""
    return (
        f'profile = "{profile}"\n[confirm]\npolicy = "{policy}"\ndeadline = "{deadline}"\n'
        f'[health]\ntimeout = "5s"\n{health}\n'
    )


def unit(command: str, *, after: str = "manageboot.service") -> str:
    """A service that runs a command of the shell at boot, beside all others."""
    return (
        f"[Unit]\nAfter={after}\n[Service]\nType=exec\nExecStart=/bin/sh -c {shlex.quote(command)}\n"
        f"[Install]\nWantedBy=multi-user.target\n"
    )


def lay_into(
    machine: VirtualMachine, slot: str, files: Mapping[str, str], *, parts: str = "/dev/disk/by-partlabel"
) -> None:
    """Write files below /etc of the passive slot, in place of those of the last trial. Units are enabled.

    Args:
        machine: the node.
        slot: the passive one.
        files: by their path.
        parts: the directory of the slots' devices.
    """
    lines = [
        f"set -e; mount {parts}/{slot}_root /mnt; cd /mnt/etc",
        "rm -rf manageboot; cd systemd/system; rm -rf fault*.service* *.wants/fault* *.requires/fault* *.mount.d; cd -",
    ]
    for name, text in files.items():
        lines.append(f"mkdir -p $(dirname {name}); printf %s {shlex.quote(text)} > {name}")
        if text.startswith("#!"):
            lines.append(f"chmod +x {name}")
        if name.endswith(".service"):
            lines.append(f"systemctl --root=/mnt enable {name.rpartition('/')[2]}")
    machine.check("\n".join([*lines, "cd /; umount /mnt"]))


def arm(machine: VirtualMachine, verb: str) -> None:
    """Run `upgrade-commit` or `rollback` for a slot that was written to after its installation, and do not reboot."""
    machine.check(
        f"set -e; cat /etc/manageboot/manageboot.toml >{ARMED_BY} 2>/dev/null || : >{ARMED_BY}; "
        f"printf '[install]\\ncheck_sample = false\\n' >>{ARMED_BY}; manageboot -c {ARMED_BY} {verb} --no-reboot"
    )


def reboot_into(machine: VirtualMachine, verb: str, *, boots: int = 1) -> None:
    """Run `upgrade-commit` or `rollback`, and wait until the node is up in the last of so many boots."""
    target = len(machine.serial.boots()) + boots
    arm(machine, verb)
    # The answer would be lost with the node, so it goes down after it.
    machine.check("systemd-run --on-active=1 systemctl reboot")
    wait_for_boot(machine, target)


def wait_for_boot(machine: VirtualMachine, target: int) -> None:
    """Wait until the node has gone through firmware so many times, and is up."""
    # To go down takes as long as a boot, at most, and a trial may wait for its deadline in each.
    given_up = time.monotonic() + BOOT_DEADLINE_S * 2 * (target - len(machine.serial.boots()) + 1)
    while len(machine.serial.boots()) < target:
        assert time.monotonic() < given_up, f"boot {target} did not come:\n{machine.serial.tail()}"
        time.sleep(0.5)
    machine.wait_until_up()
    assert len(machine.serial.boots()) == target


def wait_for(machine: VirtualMachine, condition: str) -> None:
    """Wait until a line of the shell succeeds on the node."""
    # Beside other nodes all takes up to ten times as long.
    line = f"timeout 300 sh -c {shlex.quote(f'until {condition}; do sleep 1; done')}"
    machine.check(line, timeout_s=330.0)


def status(machine: VirtualMachine) -> dict[str, Any]:
    """What `status --json` says."""
    return json.loads(machine.check("manageboot status --json").stdout)


def events(machine: VirtualMachine) -> list[str]:
    """The events since the slot was told to boot."""
    entries = json.loads(machine.check("manageboot history --json").stdout)["entries"]
    names = [entry["event"] for entry in entries]
    return names[
        max(i for i, name in enumerate(names) if name in {"committed", "rolled_back"} and not later(names, i)) :
    ]


def later(names: list[str], position: int) -> bool:
    """Say whether a rolled_back belongs to a trial that was aborted: a trial had started, and ended with it."""
    return names[position] == "rolled_back" and names[position + 1 : position + 2] in (["deadline"], ["health_failed"])


def confirm_trial(machine: VirtualMachine, slot: str, version: str, *, boots: int) -> None:
    """Confirm the trial that runs, which has to be of this slot and version, after so many boots."""
    seen = observe(machine)
    assert (seen.slot, seen.version, seen.status["state"]) == (slot, version, "trial")
    machine.check("manageboot confirm")
    assert observe(machine).variables["boot_cycle"] == "stable"
    assert len(machine.serial.boots()) == boots


def assert_fell_back(machine: VirtualMachine, cause: str, *, told: list[str], to: str = "B") -> None:
    """Compare what every witness says of a trial that did not stay."""
    wait_for(machine, "manageboot history | tail -n1 | grep -q fallback")
    seen = observe(machine)
    assert (seen.slot, seen.status["state"], seen.status["booted"]) == (to, "idle", to)
    assert seen.status["fallback"] == {"slot": {"A": "B", "B": "A"}[to], "cause": cause}
    assert seen.variables["boot_cycle"] == "stable"
    assert events(machine) == [*told, "fallback"]
    entries = json.loads(machine.check("manageboot history --json").stdout)["entries"]
    assert entries[-1]["cause"] == cause
    lines = machine.check(f"journalctl -b -o json MESSAGE_ID={FALLBACK_MESSAGE_ID}").stdout.splitlines()
    assert [json.loads(line)["MANAGEBOOT_CAUSE"] for line in lines] == [cause]
    total = sum(entry["cause"] == cause for entry in entries if entry["event"] == "fallback")
    assert f'manageboot_fallbacks{{cause="{cause}"}} {total:.1f}' in machine.check(f"cat {METRICS}").stdout.splitlines()


def assert_confirmed(machine: VirtualMachine, slot: str, *, told: list[str]) -> None:
    """Compare what every witness says of a trial that was confirmed."""
    wait_for(
        machine, 'manageboot history | grep -q confirmed && manageboot status --json | grep -q \'"state": "idle"\''
    )
    seen = observe(machine)
    assert (seen.slot, seen.status["state"], seen.status["next"]) == (slot, "idle", slot)
    assert seen.status["fallback"] is None
    assert (seen.variables["boot_alternative"], seen.variables["boot_cycle"]) == (slot, "stable")
    assert sorted(events(machine)) == sorted(told)
    metrics = machine.check(f"cat {METRICS}").stdout.splitlines()
    assert 'manageboot_state{state="idle"} 1.0' in metrics
    assert f'manageboot_booted_slot{{slot="{slot}"}} 1.0' in metrics
