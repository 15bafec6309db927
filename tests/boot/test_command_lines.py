"""The kernel command line tells the booted slot, and what GRUB passes: the agent and a repair read it alike."""

import subprocess
import sys
from pathlib import Path

import pytest

import grubenv
from grubenv.__main__ import main as run_grubenv
from manageboot import errors
from manageboot.boot import cmdline
from manageboot.config import BootConfig
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
]


def boot_config(line_file: Path, key: str = "dfinity.system") -> BootConfig:
    return BootConfig("/grubenv", str(line_file), key, ("true",), 1, reboot_again=False)


@pytest.mark.parametrize(("line", "slot"), LINES)
def test_agent_and_repair_read_it_alike(tmp_path: Path, line: str, slot: str | None):
    line_file, block = tmp_path / "cmdline", tmp_path / "grubenv"
    line_file.write_text(f"{line}\n")
    words = [
        "repair",
        "boot_cycle=stable",
        "--from-cmdline",
        "boot_alternative=dfinity.system",
        f"--cmdline={line_file}",
    ]
    status = run_grubenv([str(block), *words])
    if slot is None:
        with pytest.raises(errors.BootedSlotUnknownError, match=r"dfinity\.system=A and dfinity\.system=B"):
            cmdline.booted_slot(boot_config(line_file))
        assert (status, block.exists()) == (65, False)
        return
    assert cmdline.booted_slot(boot_config(line_file)) == slot
    assert grubenv.query(block) == {"boot_alternative": slot, "boot_cycle": "stable"}


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
