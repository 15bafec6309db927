"""`manageboot bootloader`: shows, compares and replaces the script, and never by itself."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from manageboot import errors
from manageboot.bootloader import grubcfg
from support.images import MIB
from support.loop import loop_device, run
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
    line = f"manageboot: error: cannot accept {script}: it is not the shipped one [GRUB_CFG]\n"
    assert done.stderr == f"{line}hint: manageboot bootloader install\n"
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


@pytest.mark.grub
def test_once_installed_grub_finds_both_on_a_disk_whose_journal_it_does_not_replay(node: LoopNode, tmp_path: Path):
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(32 * MIB)
    run("mkfs.ext4", "-q", "-O", "^metadata_csum_seed", disk)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    with loop_device(disk) as device:
        run("mount", device, mounted)
        try:
            shutil.copy(node.grubenv, mounted)
            (mounted / "grub.cfg").write_text(OLD)
            run("sync", "--file-system", mounted)
            node.ok("-f", mounted / "grubenv", "bootloader", "install")
            # Nothing is unmounted or synced here: this is what a power cut leaves.
            left = shutil.copy(disk, tmp_path / "left.img")
        finally:
            run("umount", mounted)
    found = [run("grub-fstest", left, "cat", f"(loop0)/{name}") for name in ("grub.cfg", "grub.cfg.old")]
    assert found == [grubcfg.shipped().strip(), OLD.strip()]


def test_a_script_that_grub_does_not_take_is_not_installed(node: LoopNode, script: Path, tmp_path: Path):
    checker = tmp_path / "bin" / "grub-script-check"
    checker.parent.mkdir()
    checker.write_text("#!/bin/sh\necho 'error: line no: 7' >&2\nexit 1\n")
    checker.chmod(0o755)
    environment = {"PATH": f"{checker.parent}:/usr/bin:/bin"}
    line = node.fails("bootloader", "install", status=65, code="GRUB_CFG", env=environment)
    assert "line no: 7" in line
    assert script.read_text() == OLD


def test_without_room_for_a_temporary_file_nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checker = tmp_path / "grub-script-check"
    checker.write_text("#!/bin/sh\n")
    checker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(errors.CreateError, match="out of a temporary file: No such file or directory") as caught:
        grubcfg.put(str(tmp_path / "grub.cfg"), "# a script\n")
    assert caught.value.hint == "TMPDIR names its directory"
    assert not (tmp_path / "grub.cfg").exists()


def test_what_is_no_file_keeps_nobody_waiting(node: LoopNode):
    os.mkfifo(node.grubenv.with_name("grub.cfg"))
    for verb in ("check", "install"):
        line = node.fails("bootloader", verb, status=66, code="NO_INPUT")
        assert "grub.cfg: it is not a regular file" in line


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


NEEDED = ("part_gpt", "fat", "ext2", "loadenv", "test", "linux", "boot", "configfile")
USED = ("lvm", "regexp", "echo", "keystatus", "reboot", "minicmd")


def modules_of(script: Path, *without: str, platform: str = "x86_64-efi") -> Path:
    directory = script.with_name(platform)
    directory.mkdir()
    for name in {*NEEDED, *USED} - set(without):
        (directory / f"{name}.mod").touch()
    (directory / "command.lst").touch()
    return directory


@pytest.mark.parametrize("name", NEEDED)
def test_a_module_that_the_script_needs_is_missed_before_it_is_installed(node: LoopNode, script: Path, name: str):
    directory = modules_of(script, name)
    line = node.fails("bootloader", "install", status=65, code="GRUB_MODULES")
    assert f"cannot install {script}: there is no {directory}/{name}.mod" in line
    assert script.read_text() == OLD
    script.write_text(grubcfg.shipped())
    node.fails("bootloader", "check", status=65, code="GRUB_MODULES")


def test_of_a_module_that_the_script_can_do_without_there_is_a_warning(node: LoopNode, script: Path):
    directory = modules_of(script, "regexp")
    done = node.run("bootloader", "install")
    assert (done.returncode, script.read_text()) == (0, grubcfg.shipped())
    assert f"warning: there is no {directory}/regexp.mod; the script works without it" in done.stderr
    assert "regexp.mod" in node.run("bootloader", "check").stderr


def test_each_platform_is_looked_at(node: LoopNode, script: Path):
    modules_of(script)
    legacy = modules_of(script, "test", platform="i386-pc")
    assert f"{legacy}/test.mod" in node.fails("bootloader", "install", status=65, code="GRUB_MODULES")


def test_where_there_are_no_modules_they_are_built_in(node: LoopNode, script: Path):
    script.with_name("x86_64-efi").mkdir()
    script.with_name("some-theme").mkdir()
    (script.parent / "some-theme" / "theme.txt").touch()
    node.ok("bootloader", "install")


def test_a_few_modules_without_a_list_of_commands_are_not_those_that_grub_boots_with(node: LoopNode, script: Path):
    directory = modules_of(script, *{*NEEDED, *USED} - {"keystatus"})
    (directory / "command.lst").unlink()
    done = node.run("bootloader", "install")
    assert (done.returncode, script.read_text()) == (0, grubcfg.shipped())
    assert "warning" not in done.stderr
    node.ok("bootloader", "check")


def test_slots_in_a_volume_group_need_one_more(node: LoopNode, script: Path):
    modules_of(script, "lvm")
    node.devices["B"]["var"] = "LV=hostlvm/B_var"
    node.write_config()
    assert "/lvm.mod" in node.fails("bootloader", "install", status=65, code="GRUB_MODULES")
