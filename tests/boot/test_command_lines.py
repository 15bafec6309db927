"""The kernel command line tells the booted slot, and what GRUB passes: verbs, daemon and a repair read it alike."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import grubenv
from grubenv.__main__ import main as run_grubenv
from manageboot import config, errors
from manageboot.boot import cmdline, envblock
from manageboot.config import BootConfig
from manageboot.daemon.look import look_at
from manageboot.daemon.observation import Observation
from manageboot.protocol import Slot
from support.node import LoopNode

LINES = [
    ("root=/dev/vda5 dfinity.system=A ro", "A"),
    ('dfinity.system="B"', "B"),
    ('"dfinity.system=B" quiet', "B"),
    ("dfinity.system=A dfinity.system=A", "A"),
    ("dfinity.system=A dfinity.system=B", None),
    ("dfinity.system=B dfinity.system=A", None),
    ("xdfinity.system=A dfinity.systems=B dfinity.system=B dfinity.system", "B"),
    ("dfinity.system=B init=/sbin/init -- dfinity.system=A", "B"),
    ('foo="x dfinity.system=B" dfinity.system=A', "A"),
    ('dfinity.system=B foo="cut off dfinity.system=A', "B"),
    ('dfinity.system=B foo=cut"off dfinity.system=A', "B"),
    ('foo="-- " dfinity.system=A', "A"),
    ("foo=\u2003dfinity.system=B dfinity.system=A", "A"),
    # A quotation mark that is never closed.
    ('dfinity.system="A', "A"),
    ('quiet "dfinity.system=B', "B"),
    ('dfinity.system=A foo="dfinity.system=B', "A"),
]


def boot_config(line_file: Path, key: str = "dfinity.system") -> BootConfig:
    return BootConfig("/grubenv", str(line_file), key, ("true",), 1, reboot_again=False)


def repair(block: Path, line_file: Path) -> int:
    words = ["boot_cycle=stable", "--from-cmdline", "boot_alternative=dfinity.system", f"--cmdline={line_file}"]
    return run_grubenv([str(block), "repair", *words])


def seen_by_daemon(line_file: Path) -> Observation:
    """What the daemon sees with this line, and with a block that says nothing yet."""
    directory = line_file.parent / "of-the-daemon"
    directory.mkdir()
    (directory / "grubenv").write_bytes(grubenv.EnvBlock.create().build())
    slots = "".join(f'[slots.{slot}]\nboot = "/dev/{slot}1"\nroot = "/dev/{slot}2"\n' for slot in "AB")
    boot = f'[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{line_file}"\n'
    (directory / "manageboot.toml").write_text(f'{boot}[state]\ndirectory = "{directory}"\n{slots}')
    settings = config.load(str(directory / "manageboot.toml"))
    return look_at(settings, tried=False, over=False, repeated=False)


@pytest.mark.parametrize(("line", "slot"), LINES)
def test_agent_and_repair_read_it_alike(tmp_path: Path, line: str, slot: str | None):
    line_file, block = tmp_path / "cmdline", tmp_path / "grubenv"
    line_file.write_text(f"{line}\n")
    status = repair(block, line_file)
    seen = seen_by_daemon(line_file)
    if slot is None:
        assert (seen.state, "dfinity.system=A and dfinity.system=B" in seen.problem) == (None, True)
        with pytest.raises(errors.BootedSlotUnknownError, match=r"dfinity\.system=A and dfinity\.system=B"):
            cmdline.booted_slot(boot_config(line_file))
        assert (status, block.exists()) == (65, False)
        return
    assert cmdline.booted_slot(boot_config(line_file)) == slot
    assert seen.state is not None and seen.state.booted == slot
    assert grubenv.query(block) == {"boot_alternative": slot, "boot_cycle": "stable"}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('dfinity.system=A"B"', 'A"B"'),
        ('dfinity.system="A quiet dfinity.system=B', "A quiet dfinity.system=B"),
        ('dfinity.system=A" dfinity.system=B', 'A" dfinity.system=B'),
    ],
)
def test_a_value_that_is_not_a_slot_is_read_alike(tmp_path: Path, line: str, value: str):
    line_file, block = tmp_path / "cmdline", tmp_path / "grubenv"
    line_file.write_text(f"{line}\n")
    said = f"has dfinity.system={value}"
    with pytest.raises(errors.BootedSlotUnknownError, match=re.escape(said)):
        cmdline.booted_slot(boot_config(line_file))
    seen = seen_by_daemon(line_file)
    assert (seen.state, said in seen.problem) == (None, True)
    # A repair does not know what a slot is. Nobody boots by what it took over.
    assert repair(block, line_file) == 0
    assert grubenv.query(block)["boot_alternative"] == value
    assert envblock.read(str(block)).condition is envblock.Condition.DAMAGED


def test_a_line_that_names_no_slot(tmp_path: Path):
    line_file = tmp_path / "cmdline"
    for line in ("", "dfinity.system", "dfinity.system=", "dfinity.system=C", "-- dfinity.system=A"):
        line_file.write_text(line)
        with pytest.raises(errors.BootedSlotUnknownError):
            cmdline.booted_slot(boot_config(line_file))


def test_another_key(tmp_path: Path):
    line_file = tmp_path / "cmdline"
    line_file.write_text("rauc.slot=B\n")
    assert cmdline.booted_slot(boot_config(line_file, "rauc.slot")) == "B"


def test_what_grub_passes_is_read_alike(tmp_path: Path):
    line_file = tmp_path / "cmdline"
    line_file.write_text('manageboot.slot=B manageboot.cycle=first_boot manageboot.try=1 x="y manageboot.nonce=1234\n')
    assert cmdline.grub_parameters(boot_config(line_file)) == cmdline.GrubParameters("B", "first_boot", "1", "", "")
    line_file.write_text("manageboot.slot=B manageboot.try=1 manageboot.try=2\n")
    assert cmdline.grub_parameters(boot_config(line_file)) == cmdline.GrubParameters("B")
    line_file.write_text("dfinity.system=B manageboot.slot=B\n")
    assert cmdline.read(boot_config(line_file)) == (Slot.B, cmdline.GrubParameters("B"), True)


@pytest.mark.parametrize(
    ("line", "by_grub"),
    [
        ("BOOT_IMAGE=(hd0,gpt4)/vmlinuz root=/dev/vda5 dfinity.system=A", True),
        ("dfinity.system=A manageboot.slot=A", True),
        ("root=/dev/vda5 console=ttyS0 dfinity.system=A initrd=initrd", False),
        ("dfinity.system=A -- BOOT_IMAGE=/vmlinuz", False),
        ('dfinity.system=A x="y BOOT_IMAGE=/vmlinuz"', False),
    ],
)
def test_whether_a_grub_started_the_kernel(tmp_path: Path, line: str, *, by_grub: bool):
    line_file = tmp_path / "cmdline"
    line_file.write_text(f"{line}\n")
    boot = boot_config(line_file)
    assert (cmdline.read(boot).by_grub, cmdline.started_by_grub(boot)) == (by_grub, by_grub)


def test_what_can_not_be_read_says_nothing_of_grub(tmp_path: Path):
    assert cmdline.grub_parameters(boot_config(tmp_path / "missing")) is None


@pytest.mark.devices
def test_a_look_at_the_node_reads_it_once(node: LoopNode, tmp_path: Path):
    log = tmp_path / "calls"
    command = ["strace", "-f", "-o", str(log), "-e", "trace=open,openat", sys.executable, "-m", "manageboot"]
    subprocess.run([*command, "-c", str(node.config), "status"], check=True, capture_output=True)
    assert log.read_text().count(f'"{node.cmdline}"') == 1


@pytest.mark.parametrize(("container", "hint"), [(True, "that of its host: run it there"), (False, "GRUB has to pass")])
def test_a_container_has_the_command_line_of_its_host(monkeypatch: pytest.MonkeyPatch, container: bool, hint: str):
    monkeypatch.setattr(cmdline, "in_container", lambda: container)
    # No kernel gets such a word.
    boot = boot_config(Path("/proc/cmdline"), "none.such")
    with pytest.raises(errors.BootedSlotUnknownError) as caught:
        cmdline.booted_slot(boot)
    assert hint in str(caught.value.hint)
