"""doctor: each finding by its code word, on a node of loop devices, through the real command line."""

import json
import os
import re
from pathlib import Path

import pytest

from manageboot.bootloader import grubcfg
from manageboot.disk import devices
from manageboot.report import doctor
from support.images import make_update
from support.node import LoopNode

pytestmark = pytest.mark.devices

# The node's block lies in a file of the test machine's own file system, whatever that is.
PLACE = {"BLOCK_UNSOUND"}


def findings(node: LoopNode) -> dict[str, str]:
    done = node.run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["sound"] else 65), done.stderr
    assert report["sound"] is (not report["findings"])
    assert all(finding["remedy"] == doctor.REMEDIES[finding["code"]] for finding in report["findings"])
    return {finding["code"]: finding["text"] for finding in report["findings"] if finding["code"] not in PLACE}


def boot_with_shipped(node: LoopNode, slot: str, **words: str) -> None:
    """Boot as the shipped grub.cfg does, which is then beside the block."""
    (node.grubenv.parent / "grub.cfg").write_text(grubcfg.shipped())
    trace = {"slot": slot, "cycle": "stable", **words}
    said = " ".join(f"manageboot.{name.rstrip('_')}={value}" for name, value in trace.items())
    node.cmdline.write_text(f"BOOT_IMAGE=/vmlinuz dfinity.system={slot} {said}\n")


def test_nothing_is_wrong(node: LoopNode):
    assert findings(node) == {}
    boot_with_shipped(node, "A")
    node.ok("confirm")
    assert findings(node) == {}


def test_it_writes_nothing(node: LoopNode):
    before = {path: path.stat().st_mtime_ns for path in node.directory.rglob("*")}
    node.run("doctor")
    assert {path: path.stat().st_mtime_ns for path in node.directory.rglob("*")} == before


def test_for_a_person_each_finding_has_its_remedy(node: LoopNode):
    node.set_block(boot_alternative="B")
    done = node.run("doctor")
    assert done.returncode == 65
    assert "CONFLICT: the kernel command line says that slot A is booted" in done.stdout
    assert f"  remedy: {doctor.REMEDIES['CONFLICT']}" in done.stdout
    assert re.search(r"error: cannot rely on the boot chain: it has \d faults? \[UNSOUND\]$", done.stderr, re.MULTILINE)


def test_the_name_of_a_file_makes_no_line(node: LoopNode):
    odd = node.directory / "odd\nNO_BLOCK: forged" / "grubenv"
    text = node.config.read_text().replace(f'"{node.grubenv}"', json.dumps(str(odd)))
    node.config.write_text(text)
    odd.parent.mkdir()
    shown = node.run("doctor").stdout.splitlines()
    assert [line for line in shown if line.startswith("NO_BLOCK: forged")] == []
    assert any("odd\\x0aNO_BLOCK: forged/grubenv: it does not exist" in line for line in shown)


def test_a_slot_that_nothing_names(node: LoopNode):
    node.cmdline.write_text("ro quiet\n")
    assert set(findings(node)) == {"NO_BOOTED_SLOT"}


def test_a_block_that_is_absent_or_damaged(node: LoopNode):
    node.grubenv.write_bytes(b"garbage")
    assert set(findings(node)) == {"BLOCK_DAMAGED"}
    node.grubenv.unlink()
    assert set(findings(node)) == {"NO_BLOCK"}


def test_a_block_that_grub_could_not_write(node: LoopNode):
    node.grubenv.write_bytes(node.grubenv.read_bytes() + b"\0")
    report = json.loads(node.run("doctor", "--json").stdout)
    assert "BLOCK_UNSOUND" in [finding["code"] for finding in report["findings"]]


def test_a_trial_that_grub_did_not_record(node: LoopNode):
    node.set_block(boot_alternative="B", boot_cycle="first_boot")
    node.set_booted("B")
    assert set(findings(node)) == {"GRUB_DID_NOT_WRITE"}


def test_grub_that_could_not_write_and_one_that_reads_another_block(node: LoopNode, tmp_path: Path):
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    boot_with_shipped(node, "A")
    node.ok("upgrade-commit", "--no-reboot")
    assert findings(node) == {}
    boot_with_shipped(node, "A", cycle="first_boot", fault="unwritable", nonce=node.block()["mb_nonce"])
    assert set(findings(node)) == {"GRUB_CANNOT_WRITE", "FELL_BACK"}
    # Rebooted, and GRUB saw no commit: it reads another block.
    boot_with_shipped(node, "A")
    path = node.state / "record.json"
    record = json.loads(path.read_text())
    record["slots"]["B"]["committed_in"] = "another-boot"
    path.write_text(json.dumps(record))
    assert set(findings(node)) == {"GRUB_READS_OTHER_BLOCK", "FELL_BACK"}
    assert node.status()["fallback"] == {"slot": "B", "cause": "never-started"}


def test_a_trial_that_grub_started_by_another_block(node: LoopNode):
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check", mb_nonce="1f", mb_ack="1f")
    boot_with_shipped(node, "B", cycle="first_boot", try_="1", nonce="1f")
    assert findings(node) == {}
    boot_with_shipped(node, "B", cycle="first_boot", try_="1", nonce="2e")
    assert findings(node) == {"GRUB_READS_OTHER_BLOCK": "GRUB read the nonce 2e, the block has 1f"}


def test_a_slot_that_stands_in_for_the_trusted_one(node: LoopNode):
    boot_with_shipped(node, "B", fault="unloadable")
    assert set(findings(node)) == {"CONFLICT", "TRUSTED_SLOT_UNLOADABLE"}


def test_a_block_that_was_damaged_at_boot(node: LoopNode):
    boot_with_shipped(node, "A", fault="damaged")
    node.ok("confirm")
    assert set(findings(node)) == {"GRUB_FOUND_DAMAGE"}


def test_the_second_witness_is_behind_until_a_confirm(node: LoopNode):
    boot_with_shipped(node, "A")
    assert set(findings(node)) == {"SECOND_WITNESS_BEHIND"}
    node.ok("confirm")
    assert findings(node) == {}
    node.set_block(boot_alternative="B")
    boot_with_shipped(node, "B")
    assert set(findings(node)) == {"SECOND_WITNESS_BEHIND"}


def test_tries_need_the_shipped_script(node: LoopNode, tmp_path: Path):
    node.write_config(boot="tries = 3")
    assert set(findings(node)) == {"TRIES_IGNORED"}
    node.ok("upgrade-install", make_update(tmp_path / "update"))
    done = node.run("upgrade-commit", "--no-reboot")
    assert "warning: the trial gets one boot, not boot.tries = 3" in done.stderr
    assert "mb_tries" not in node.block()


def test_a_script_that_is_not_the_shipped_one(node: LoopNode):
    boot_with_shipped(node, "A")
    node.ok("confirm")
    (node.grubenv.parent / "grub.cfg").write_text("# an older one\n")
    assert set(findings(node)) == {"GRUB_CFG_DIFFERS"}


def test_a_device_that_is_not_there(node: LoopNode):
    node.devices["B"]["var"] = "/dev/nothing"
    node.write_config()
    assert findings(node) == {
        "NO_DEVICE": "slots.B.var: cannot find /dev/nothing: it is not a block device",
    }


@pytest.mark.parametrize(("slot", "code"), [("A", None), ("B", "ROOT_OF_OTHER_SLOT")])
def test_the_mounted_root_belongs_to_the_booted_slot(
    node: LoopNode, monkeypatch: pytest.MonkeyPatch, slot: str, code: str | None
):
    from manageboot import config

    root = os.stat(node.devices[slot]["root"]).st_rdev
    monkeypatch.setattr(devices, "layers", lambda _device: {root})
    report = doctor.examine(config.load(str(node.config)))
    found = {finding["code"] for finding in report["findings"]} - PLACE
    assert found == ({code} if code else set())
    assert not any("whether / is" in text for text in report["unknown"])


def test_a_damaged_record(node: LoopNode):
    node.state.mkdir()
    (node.state / "record.json").write_text("{")
    assert set(findings(node)) == {"RECORD_DAMAGED"}


def test_modules_of_grub_that_are_missing(node: LoopNode):
    boot_with_shipped(node, "A")
    node.ok("confirm")
    directory = node.grubenv.parent / "x86_64-efi"
    directory.mkdir()
    assert findings(node) == {}
    names = ("part_gpt", "fat", "ext2", "loadenv", "test", "linux", "boot", "configfile",
             "lvm", "regexp", "echo", "keystatus", "reboot", "minicmd")  # fmt: skip
    for name in names:
        (directory / f"{name}.mod").touch()
    (directory / "command.lst").touch()
    assert findings(node) == {}
    (directory / "regexp.mod").unlink()
    assert findings(node) == {"GRUB_MODULES": f"GRUB's script uses {directory}/regexp.mod, which is missing"}
