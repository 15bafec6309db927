"""The kernel command line tells the booted slot: to the agent, to GRUB's traces, and to a repair of the block alike."""

from pathlib import Path

import pytest

import grubenv
from grubenv.__main__ import main as run_grubenv
from manageboot import boottrace, errors, slots
from manageboot.config import BootConfig

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


def boot_config(cmdline: Path, key: str = "dfinity.system") -> BootConfig:
    return BootConfig("/grubenv", str(cmdline), key, ("true",), 1, reboot_again=False)


@pytest.mark.parametrize(("line", "slot"), LINES)
def test_agent_and_repair_read_it_alike(tmp_path: Path, line: str, slot: str | None):
    cmdline, block = tmp_path / "cmdline", tmp_path / "grubenv"
    cmdline.write_text(f"{line}\n")
    words = ["repair", "boot_cycle=stable", "--from-cmdline", "boot_alternative=dfinity.system", f"--cmdline={cmdline}"]
    status = run_grubenv([str(block), *words])
    if slot is None:
        with pytest.raises(errors.BootedSlotUnknownError, match=r"dfinity\.system=A and dfinity\.system=B"):
            slots.booted_slot(boot_config(cmdline))
        assert (status, block.exists()) == (65, False)
        return
    assert slots.booted_slot(boot_config(cmdline)) == slot
    assert grubenv.query(block) == {"boot_alternative": slot, "boot_cycle": "stable"}


def test_a_line_that_names_no_slot(tmp_path: Path):
    cmdline = tmp_path / "cmdline"
    for line in ("", "dfinity.system", "dfinity.system=", "dfinity.system=C", "-- dfinity.system=A"):
        cmdline.write_text(line)
        with pytest.raises(errors.BootedSlotUnknownError):
            slots.booted_slot(boot_config(cmdline))


def test_another_key(tmp_path: Path):
    cmdline = tmp_path / "cmdline"
    cmdline.write_text("rauc.slot=B\n")
    assert slots.booted_slot(boot_config(cmdline, "rauc.slot")) == "B"


def test_the_traces_of_grub_are_read_alike(tmp_path: Path):
    cmdline = tmp_path / "cmdline"
    cmdline.write_text('manageboot.slot=B manageboot.cycle=first_boot manageboot.try=1 x="y manageboot.nonce=1234\n')
    trace = boottrace.read(boot_config(cmdline))
    assert trace == boottrace.BootTrace("B", "first_boot", "1", "", "")
    cmdline.write_text("manageboot.slot=B manageboot.try=1 manageboot.try=2\n")
    assert boottrace.read(boot_config(cmdline)) == boottrace.BootTrace("B")
