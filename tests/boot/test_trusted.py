"""The trusted slot, beside a block that somebody else named: root writes a block there, and nothing else."""

import os
import tempfile
from pathlib import Path

import pytest

import grubenv
from manageboot import errors
from manageboot.boot import envblock, trusted
from manageboot.protocol import Slot
from support.node import LoopNode

VICTIM = b"root:x:0:0:root:/root:/bin/sh\n" * 60
SOUND = grubenv.EnvBlock.create().update({"other": "kept"}).build()


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    (tmp_path / "grub").mkdir()
    return tmp_path / "grub" / trusted.FILE_NAME


def write(beside: Path) -> None:
    trusted.write(str(beside.with_name("grubenv")), Slot.B)


@pytest.mark.parametrize("content", [VICTIM, SOUND, SOUND[:-1] + b"x", bytes(1024), b"", None])
def test_a_link_is_never_followed(beside: Path, tmp_path: Path, content: bytes | None):
    victim = tmp_path / "victim"
    if content is not None:
        victim.write_bytes(content)
    beside.symlink_to(victim)
    with pytest.raises(grubenv.NotRegularError, match="it is a symbolic link, not a regular file"):
        write(beside)
    assert beside.is_symlink()
    assert (victim.read_bytes() if victim.exists() else None) == content
    assert sorted(os.listdir(beside.parent)) == [trusted.FILE_NAME]


@pytest.mark.parametrize("content", [VICTIM, b"x" * 1024, b"\0" * 1025, b"# GRUB Environment"])
def test_what_is_no_block_is_left_as_it_is(beside: Path, content: bytes):
    beside.write_bytes(content)
    with pytest.raises(grubenv.CannotCreateError, match="what is there is not an environment block") as caught:
        write(beside)
    assert str(beside) in str(caught.value)
    assert beside.read_bytes() == content


@pytest.mark.parametrize("content", [None, b"", bytes(1), bytes(1024), SOUND[:512] + bytes(512), SOUND[:-1] + b"x"])
def test_what_is_left_of_a_block_is_replaced(beside: Path, content: bytes | None):
    if content is not None:
        beside.write_bytes(content)
    write(beside)
    assert grubenv.query(beside) == {"mb_trusted": "B"}
    assert grubenv.check(beside).sound


def test_a_sound_one_keeps_what_else_it_holds(beside: Path):
    beside.write_bytes(SOUND)
    write(beside)
    assert grubenv.query(beside) == {"other": "kept", "mb_trusted": "B"}


def test_the_directory_may_be_a_link(beside: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(beside.parent)
    trusted.write(str(tmp_path / "link" / "grubenv"), Slot.A)
    assert grubenv.query(beside) == {"mb_trusted": "A"}


@pytest.mark.devices
def test_a_confirm_of_a_foreign_block_warns_and_harms_nothing(node: LoopNode, tmp_path: Path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "grubenv").write_bytes(node.grubenv.read_bytes())
    for name in (trusted.FILE_NAME, "manageboot.log"):
        (tmp_path / name).write_bytes(VICTIM)
        (foreign / name).symlink_to(tmp_path / name)
    grubenv.update(foreign / "grubenv", {"boot_cycle": "failsafe_check"})
    # Only where the shipped script booted the node is there a second beside.
    node.cmdline.write_text("dfinity.system=A manageboot.slot=A manageboot.cycle=first_boot\n")
    done = node.run("-f", foreign / "grubenv", "confirm")
    assert done.returncode == 0, done
    assert "warning: slot A is trusted, but a GRUB that finds its block damaged does not know" in done.stderr
    for name in (trusted.FILE_NAME, "manageboot.log"):
        assert f"{foreign / name}: it is a symbolic link" in done.stderr
        assert (tmp_path / name).read_bytes() == VICTIM


def test_a_witness_that_may_not_be_read_is_not_taken_for_none():
    """GRUB reads it and takes B; whoever may not read it does not know."""
    # Others may not enter pytest's own directories.
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "grub.cfg").touch()
        block = str(directory / "grubenv")
        trusted.write(block, Slot.B)
        assert envblock.stated(envblock.read(block)).next is Slot.B
        (directory / trusted.FILE_NAME).chmod(0)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(errors.NotPermittedError, match=trusted.FILE_NAME):
                envblock.read(block)
        finally:
            os.seteuid(user)
