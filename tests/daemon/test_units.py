"""The units: systemd takes them, they are closed as far as they can be, and what is not closed has a reason."""

import re
import subprocess
from pathlib import Path

import pytest

from grubenv.writing.lock import RUN_DIRECTORY
from support.loop import run

UNITS = Path(__file__).parents[2] / "systemd-units"
EXPOSURE_LIMIT = 2.5


def verify(*units: Path) -> list[str]:
    """What systemd says of units; that manageboot is not installed on this machine is not their matter."""
    command = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    names = [unit.name for unit in units]
    lines = [line for line in done.stderr.splitlines() if any(name in line for name in names)]
    return [line for line in lines if "not executable" not in line]


def test_systemd_takes_the_unit():
    assert verify(UNITS / "manageboot.service") == []


def test_the_unit_is_closed():
    unit = UNITS / "manageboot.service"
    report = run("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"Overall exposure level for manageboot.service: ([0-9.]+)", report)
    assert found is not None
    assert float(found[1]) <= EXPOSURE_LIMIT


def test_what_the_unit_leaves_open_has_a_reason():
    text = (UNITS / "manageboot.service").read_text()
    report = run("systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / "manageboot.service")
    open_settings = {match[1] for match in re.finditer(r"^✗ (\w+)=", report, re.MULTILINE)}
    # User= is explained in words; an ACL of devices remains with DevicePolicy=closed, for the pseudo devices.
    unexplained = {name for name in open_settings - {"User", "DeviceAllow"} if not re.search(f"#.*{name}=", text)}
    assert unexplained - {"RestrictAddressFamilies", "UMask"} == set()


def values(name: str) -> list[str]:
    text = (UNITS / "manageboot.service").read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_the_daemon_waits_for_nothing_but_grubs_file_system():
    """A trial whose /var waits for a key has to end as well; in QEMU, test_daemon_faults.py has that."""
    waited_for = {unit for line in values("After") for unit in line.split()}
    assert waited_for == {
        "boot.mount",
        "boot-grub.mount",
        "systemd-remount-fs.service",
        "systemd-udevd.service",
    }
    assert (values("Requires"), values("RequiresMountsFor"), values("DefaultDependencies")) == ([], [], ["no"])
    # Each of these would require /var.
    assert not values("PrivateTmp") + values("StateDirectory") + values("LogsDirectory") + values("CacheDirectory")


def test_no_way_to_end_is_final():
    """Not even a bad configuration, which may be read before its file system is there."""
    assert (values("Restart"), values("RestartPreventExitStatus"), values("StartLimitIntervalSec")) == (
        ["always"],
        [],
        ["0"],
    )


def test_the_daemon_takes_the_locks_that_the_verbs_take():
    """In a sandbox where it could not write them, it would fall back to others, which keep nobody out."""
    [writable] = values("ReadWritePaths")
    assert f"-{RUN_DIRECTORY}" in writable.split()
    # systemd-tmpfiles runs later than the daemon starts.
    assert f"-+mkdir --parents --mode=0700 {RUN_DIRECTORY}" in values("ExecStartPre")
    made = [line.split() for line in (UNITS / "manageboot.tmpfiles.conf").read_text().splitlines() if line[:1] == "d"]
    assert ["d", RUN_DIRECTORY, "0700", "root", "root", "-"] in made


@pytest.mark.parametrize("example", ["confirm.conf", "boot-complete.conf"])
def test_systemd_takes_the_examples(example: str, tmp_path: Path):
    unit = tmp_path / "yours.service"
    own = "[Unit]\nDescription=Yours\n[Service]\nExecStart=/bin/true\n"
    drop_in = (UNITS / "examples" / example).read_text().replace("+manageboot", "+/bin/true")
    (tmp_path / "yours.service.d").mkdir()
    (tmp_path / "yours.service.d" / example).write_text(drop_in)
    unit.write_text(own)
    assert verify(unit) == []


def test_the_preset_enables_what_exists():
    lines = [line for line in (UNITS / "manageboot.preset").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["enable manageboot.service", "disable manageboot-update.timer"]
    assert all((UNITS / line.split()[1]).exists() for line in lines)
