"""What the verbs do where the block is absent, damaged, or contradicts the kernel command line."""

import os
from pathlib import Path

import pytest

from support.images import make_update
from support.node import BLOCK_LINES, LoopNode

pytestmark = pytest.mark.devices


@pytest.fixture
def update(tmp_path: Path) -> Path:
    return make_update(tmp_path / "update")


def test_confirm_where_grubs_file_system_is_not_mounted_is_refused(node: LoopNode):
    node.set_block(boot_cycle="failsafe_check")
    node.grubenv.rename(node.directory / "elsewhere")
    node.fails("confirm", status=66, code="NO_BLOCK")


@pytest.mark.parametrize("booted", ["A", "B"])
def test_where_grubs_file_system_is_not_mounted_nothing_says_what_boots_next(node: LoopNode, booted: str):
    node.set_booted(booted)
    node.grubenv.parent.rename(node.directory / "elsewhere")
    line = node.fails("next", status=66, code="NO_BLOCK")
    assert f"cannot use {node.grubenv}: it does not exist, and neither does a grub.cfg beside it" in line
    status = node.status()
    assert (status["schema"], status["booted"], status["state"], status["next"]) == (1, booted, "unreadable", None)
    block = status["block"]
    assert (block["condition"], block["boot_alternative"], block["boot_cycle"]) == ("absent", None, None)
    assert [problem["code"] for problem in status["problems"]] == ["NO_BLOCK"]
    shown = node.ok("status")
    assert f"block   {node.grubenv}: absent\n" in shown
    assert "next    unknown\n" in shown
    assert "boot_alternative" not in shown
    assert node.ok("current") == f"{booted}\n"
    assert "NO_BLOCK" in node.run("doctor").stdout


def test_an_absent_block_beside_a_script_is_what_grub_makes_of_it(node: LoopNode):
    node.set_booted("B")
    node.grubenv.rename(node.grubenv.parent / "grub.cfg")
    assert node.ok("next") == "A\n"
    assert node.status()["block"]["boot_alternative"] == "A"
    assert f"block   {node.grubenv}: boot_alternative=A boot_cycle=stable (absent)\n" in node.ok("status")


@pytest.mark.parametrize("kind", ["pipe", "dangling link"])
def test_a_block_that_is_no_file_is_refused(node: LoopNode, update: Path, kind: str):
    (node.grubenv.parent / "grub.cfg").touch()
    node.grubenv.unlink()
    if kind == "pipe":
        os.mkfifo(node.grubenv)
    else:
        (node.directory / "esp").mkdir()
        node.grubenv.symlink_to(node.directory / "esp" / "grubenv")
    node.fails("upgrade-install", update, status=66, code="NO_BLOCK")
    node.fails("confirm", status=66, code="NO_BLOCK")


@pytest.mark.parametrize("cycle", ["stable", "install", "failsafe_check"])
def test_a_conflict_refuses_all_that_writes(node: LoopNode, update: Path, cycle: str):
    node.set_block(boot_alternative="B", boot_cycle=cycle)
    before = node.grubenv.read_bytes()
    for verb in (["upgrade-install", update], ["upgrade-commit"], ["upgrade-cancel"], ["confirm"], ["rollback"]):
        line = node.fails(*verb, status=69, code="CONFLICT")
        assert "slot A is booted" in line
        assert f"boot_alternative=B, boot_cycle={cycle}" in line
    assert node.grubenv.read_bytes() == before
    assert node.status()["state"] == "conflict"
    assert node.ok("current") == "A\n"


@pytest.mark.parametrize("content", ["absent", "empty"])
def test_without_a_block_it_is_as_for_grub(node: LoopNode, update: Path, content: str):
    (node.grubenv.parent / "grub.cfg").write_text("# GRUB's own configuration lies here\n")
    node.grubenv.unlink()
    if content == "empty":
        node.grubenv.touch()
    status = node.status()
    assert (status["state"], status["block"]["condition"], status["next"]) == ("idle", content, "A")
    node.ok("confirm")
    node.ok("upgrade-install", update)
    node.ok("upgrade-commit", "--no-reboot")
    assert node.grubenv.stat().st_size == 1024
    assert node.boot() == "B"


def test_a_missing_block_without_grub_beside_it_is_refused(node: LoopNode, update: Path):
    node.grubenv.unlink()
    before = node.device_bytes("B", "boot")
    line = node.fails("upgrade-install", update, status=66, code="NO_BLOCK")
    assert str(node.grubenv) in line
    assert node.device_bytes("B", "boot") == before
    assert not node.grubenv.exists()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (bytes(1024), "NUL"),
        (b"garbage".ljust(1024, b"#"), "no signature"),
        (b"# GRUB Environment Block\nboot_cycle=nonsense\n".ljust(1024, b"#"), "nonsense"),
        (b"# GRUB Environment Block\nboot_alternative=C\n".ljust(1024, b"#"), "'C'"),
    ],
)
def test_a_damaged_block_is_refused_and_left_alone(node: LoopNode, update: Path, damage: bytes, said: str):
    node.grubenv.write_bytes(damage)
    for verb in (
        ["upgrade-install", update],
        ["upgrade-commit"],
        ["upgrade-cancel"],
        ["confirm"],
        ["rollback"],
        ["next"],
    ):
        assert said in node.fails(*verb, status=65, code="BLOCK_DAMAGED")
    assert node.grubenv.read_bytes() == damage
    assert node.status()["state"] == "unreadable"
    assert [node.ok("current"), node.ok("target")] == ["A\n", "B\n"]


def test_a_block_that_grub_could_not_update_is_refused_before_anything_is_written(node: LoopNode, update: Path):
    node.grubenv.write_bytes(BLOCK_LINES.encode().ljust(1024, b"#") + b"\0")
    before = node.device_bytes("B", "boot")
    node.fails("upgrade-install", update, status=65, code="BLOCK_DAMAGED")
    assert node.device_bytes("B", "boot") == before
    assert node.ok("next") == "A\n"


@pytest.mark.parametrize("line", ["ro quiet", "dfinity.system=C", "dfinity.system=A dfinity.system=B", ""])
def test_an_unknown_booted_slot_is_refused(node: LoopNode, update: Path, line: str):
    node.cmdline.write_text(line)
    for verb in (["current"], ["target"], ["status"], ["upgrade-install", update], ["confirm"]):
        node.fails(*verb, status=69, code="NO_BOOTED_SLOT")
    assert node.ok("next") == "A\n"
