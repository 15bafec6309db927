"""`manageboot bootloader`: shows, compares and replaces the script, and never by itself."""

from pathlib import Path

import pytest

from manageboot.bootloader import grubcfg
from support.node import LoopNode

pytestmark = pytest.mark.devices

OLD = "# another script\n"


@pytest.fixture
def script(node: LoopNode) -> Path:
    path = node.grubenv.parent / "grub.cfg"
    path.write_text(OLD)
    return path


def test_show_prints_the_shipped_one(node: LoopNode):
    shipped = Path(grubcfg.__file__).with_name("grub.cfg").read_text()
    assert node.ok("bootloader", "show") == shipped == grubcfg.shipped()


def test_check_tells_the_differences(node: LoopNode, script: Path):
    done = node.run("bootloader", "check")
    assert done.returncode == 65
    assert done.stderr == f"manageboot: error: cannot vouch for {script}: it is not the shipped one [GRUB_CFG]\n"
    assert done.stdout.startswith(f"--- {script}\n+++ shipped\n")
    assert "\n-# another script\n" in done.stdout
    script.write_text(grubcfg.shipped())
    assert node.ok("bootloader", "check") == ""
    script.unlink()
    node.fails("bootloader", "check", status=66, code="NO_INPUT")


def test_install_keeps_the_old_one(node: LoopNode, script: Path):
    assert node.ok("bootloader", "install") == ""
    assert script.read_text() == grubcfg.shipped()
    assert script.with_name("grub.cfg.old").read_text() == OLD
    assert sorted(path.name for path in script.parent.iterdir()) == ["grub.cfg", "grub.cfg.old", "grubenv"]
    node.ok("bootloader", "check")
    # Again, it does nothing; the old one stays the old one.
    assert "already" in node.run("bootloader", "install").stderr
    assert script.with_name("grub.cfg.old").read_text() == OLD


def test_a_script_that_grub_does_not_take_is_not_installed(node: LoopNode, script: Path, tmp_path: Path):
    checker = tmp_path / "bin" / "grub-script-check"
    checker.parent.mkdir()
    checker.write_text("#!/bin/sh\necho 'error: line no: 7' >&2\nexit 1\n")
    checker.chmod(0o755)
    environment = {"PATH": f"{checker.parent}:/usr/bin:/bin"}
    line = node.fails("bootloader", "install", status=65, code="GRUB_CFG", env=environment)
    assert "line no: 7" in line
    assert script.read_text() == OLD


@pytest.mark.parametrize(
    ("alternative", "cycle", "code"),
    [
        ("B", "first_boot", "COMMIT_PENDING"),
        ("A", "failsafe_check", "ON_TRIAL"),
        ("A", "first_boot", "ON_TRIAL"),
        ("B", "stable", "CONFLICT"),
    ],
)
def test_install_waits_until_the_booted_slot_is_trusted(
    node: LoopNode, script: Path, alternative: str, cycle: str, code: str
):
    node.set_block(boot_alternative=alternative, boot_cycle=cycle)
    node.fails("bootloader", "install", status=69, code=code)
    assert script.read_text() == OLD
    assert not script.with_name("grub.cfg.old").exists()
