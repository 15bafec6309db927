"""A host that boots its guest directly: what it makes of the block, and what the agent says then."""

import re
from pathlib import Path

import pytest

import grubenv
from manageboot.boot import envblock
from manageboot.boot.markers import Markers, TrialMarker
from manageboot.protocol import MAX_TRIES, BlockState, Cycle, Slot
from manageboot.upgrade import arming
from support.images import make_update
from support.node import LoopNode

DIRECT = "root=/dev/vda8 console=ttyS0 dfinity.system={} initrd=initrd\n"

# Each value that the agent may give a variable; what GRUB writes, no host meets.
WRITTEN = {
    "nonce": [arming.new_nonce() for _ in range(100)],
    "ack": [arming.new_nonce()],
    "tries": [str(number) for number in range(1, MAX_TRIES + 1)],
    "tried": ["1"],
    "fallback": ["unconfirmed", "unloadable"],
    "trial": list(TrialMarker),
}


def test_no_value_would_be_cut_short(tmp_path: Path):
    """A host takes a value up to the first blank or `#`."""
    assert set(WRITTEN) == set(Markers._fields)
    path = tmp_path / "grubenv"
    path.write_bytes(b"# GRUB Environment Block\n".ljust(1024, b"#"))
    for field, values in WRITTEN.items():
        for value in values:
            for slot in Slot:
                for cycle in Cycle:
                    envblock.write(str(path), BlockState(slot, cycle), Markers(**{field: value}))
                    for name, written in grubenv.query(path).items():
                        assert re.fullmatch(r"[^\s#]+", written), name


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


@pytest.fixture
def trial(node: LoopNode) -> LoopNode:
    """A trial that a host started, and that it wrote down."""
    node.set_block(boot_alternative="B", boot_cycle="failsafe_check")
    node.cmdline.write_text(DIRECT.format("B"))
    return node


@pytest.mark.devices
def test_status_and_doctor_say_what_is_known(trial: LoopNode):
    status = trial.status()
    assert (status["loader"], status["state"], status["problems"]) == ("other", "trial", [])
    line = "no GRUB started this kernel: a host that boots its guest directly, or kexec"
    assert f"loader  {line}\n" in trial.ok("status")
    assert f"not looked at: grub.cfg and GRUB's modules: {line}" in trial.run("doctor").stdout


@pytest.mark.devices
@pytest.mark.parametrize(
    ("line", "loader"),
    [("BOOT_IMAGE=/vmlinuz dfinity.system=A", "grub"), ("dfinity.system=A manageboot.slot=A", "manageboot")],
)
def test_who_started_the_kernel(node: LoopNode, line: str, loader: str):
    node.cmdline.write_text(f"{line}\n")
    assert node.status()["loader"] == loader
    assert "loader" not in node.ok("status")


@pytest.mark.devices
def test_grub_is_not_to_blame(trial: LoopNode):
    # As after kexec, which looks at no block.
    trial.set_block(boot_cycle="first_boot")
    told = [trial.run(verb).stdout + trial.run(verb).stderr for verb in ("status", "doctor")]
    for text in told:
        assert "slot B was started without GRUB, and nobody recorded the try" in text
        assert "GRUB started slot" not in text
    assert "what started this node did not record" in trial.run("confirm").stderr


@pytest.mark.devices
def test_a_fallback_is_not_the_matter_of_a_grub_cfg(node: LoopNode, update: Path):
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    node.set_block(boot_alternative="A", boot_cycle="stable")
    node.cmdline.write_text(DIRECT.format("A"))
    [problem] = node.status()["problems"]
    assert problem["code"] == "FELL_BACK"
    assert "its only try was lost before it ran: who starts this node records nothing" in problem["text"]


@pytest.mark.devices
def test_more_tries_than_one_are_not_to_be_had(node: LoopNode, update: Path):
    node.cmdline.write_text(DIRECT.format("A"))
    node.write_config(boot="tries = 3")
    node.ok("upgrade-install", update)
    done = node.run("upgrade-commit", "--no-reboot")
    assert "the trial gets one boot, not boot.tries = 3: no GRUB started this node" in done.stderr
    assert "what started this kernel knows one try" in node.run("doctor").stdout


@pytest.mark.devices
def test_a_new_grub_cfg_changes_nothing(node: LoopNode):
    node.cmdline.write_text(DIRECT.format("A"))
    (node.grubenv.parent / "grub.cfg").write_text("# GRUB's\n")
    done = node.run("bootloader", "install")
    assert done.returncode == 0
    assert f"no GRUB started this node; while none does, {node.grubenv.parent}/grub.cfg changes nothing" in done.stderr
