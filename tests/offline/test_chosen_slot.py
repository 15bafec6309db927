"""A slot that is named, of a stopped guest: the trusted one is spared unless somebody insists, and var may be kept."""

import subprocess
from pathlib import Path

import pytest

from support.grubemu import SHIPPED, STOCK
from support.images import MIB
from support.loop import run
from support.stoppedguest import StoppedGuest

pytestmark = [pytest.mark.devices, pytest.mark.grub]

LUKS = b"LUKS\xba\xbe" * 700_000
TRIAL = {"mb_nonce": "x", "mb_ack": "x", "mb_tries": "3", "mb_tried": "1"}
INSIST = ("--slot", "A", "--overwrite-trusted")


@pytest.fixture
def guest(tmp_path: Path) -> StoppedGuest:
    return StoppedGuest(tmp_path, SHIPPED)


def working(guest: StoppedGuest, slot: str) -> Path:
    """Put a system that GRUB can boot into a slot; return its boot image."""
    image = guest.update("1").parent / "boot.img"
    guest.overwrite(f"{slot}_boot", image.read_bytes())
    return image


def test_the_passive_slot_may_be_named(guest: StoppedGuest):
    guest.set_block(boot_alternative="A", boot_cycle="stable")
    guest.ok("upgrade-install", "--slot", "B", guest.update("2"))
    guest.ok("upgrade-commit", "--slot", "B")
    assert guest.block() == {"boot_alternative": "B", "boot_cycle": "first_boot"}
    # Again, as a caller that was cut off does.
    guest.ok("upgrade-commit", "--slot", "B")
    assert guest.boot() == "B"


@pytest.mark.parametrize(
    ("block", "slot", "verb", "code"),
    [
        ({}, "A", "upgrade-install", "TRUSTED_SLOT"),
        ({}, "A", "upgrade-commit", "TRUSTED_SLOT"),
        ({"boot_alternative": "B", "boot_cycle": "stable"}, "B", "upgrade-install", "TRUSTED_SLOT"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check"}, "A", "upgrade-install", "TRUSTED_SLOT"),
        ({"boot_alternative": "B", "boot_cycle": "first_boot"}, "A", "upgrade-install", "COMMIT_PENDING"),
        ({"boot_alternative": "B", "boot_cycle": "first_boot"}, "B", "upgrade-install", "COMMIT_PENDING"),
        # Otherwise a commit of the other slot would pass for one of this.
        ({"boot_alternative": "B", "boot_cycle": "first_boot"}, "A", "upgrade-commit", "COMMIT_PENDING"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check", **TRIAL}, "A", "upgrade-install", "ON_TRIAL"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check", **TRIAL}, "B", "upgrade-install", "ON_TRIAL"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check", **TRIAL}, "A", "upgrade-commit", "ON_TRIAL"),
    ],
)
def test_what_is_refused(guest: StoppedGuest, block: dict[str, str], slot: str, verb: str, code: str):
    guest.set_block(**block)
    for name in ("A_boot", "B_boot"):
        guest.overwrite(name, b"whatever")
    before = guest.get("grubenv")
    images = [guest.update("2")] if verb == "upgrade-install" else []
    said = guest.fails(verb, "--slot", slot, *images, status=69, code=code)
    assert f"cannot {verb}" in said
    if images and code != "TRUSTED_SLOT":
        guest.fails(verb, "--slot", slot, "--overwrite-trusted", *images, status=69, code=code)
    assert guest.get("grubenv") == before
    assert [guest.part(name, 8) for name in ("A_boot", "B_boot")] == [b"whatever"] * 2


def test_the_refusal_says_how_to_insist(guest: StoppedGuest):
    done = guest.run("upgrade-install", "--slot", "A", guest.update("2"))
    assert f"cannot upgrade-install slot A of {guest.disk}: it is the trusted one" in done.stderr
    assert "hint: --overwrite-trusted overwrites it; until its commit, slot B is trusted then" in done.stderr


@pytest.mark.parametrize("script", [SHIPPED, STOCK], ids=["shipped", "stock"])
@pytest.mark.parametrize("cycle", ["stable", "failsafe_check"])
def test_the_trusted_slot_is_overwritten_if_somebody_insists(tmp_path: Path, script: Path, cycle: str):
    guest = StoppedGuest(tmp_path, script)
    guest.set_block(mb_trusted="A")
    guest.put("manageboot.env", guest.get("grubenv"))
    named = {"stable": "A", "failsafe_check": "B"}[cycle]  # either way it is A that is trusted
    guest.set_block(boot_alternative=named, boot_cycle=cycle, other="kept")
    working(guest, "B")
    guest.overwrite("A_var", LUKS)
    done = guest.run("upgrade-install", *INSIST, guest.update("2"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "slot A was the trusted one: until its commit, slot B is, whatever it holds" in done.stderr
    assert guest.block() == {"boot_alternative": "B", "boot_cycle": "stable", "other": "kept"}
    assert b"\nmb_trusted=B\n" in guest.get("manageboot.env")
    assert (guest.record("A"), guest.record("B")) == ("installed", None)
    assert not any(guest.part("A_var", 4096))
    assert guest.boot() == "B"
    # From here on nobody has to insist.
    guest.ok("upgrade-commit", "--slot", "A")
    assert guest.block() == {"boot_alternative": "A", "boot_cycle": "first_boot", "other": "kept"}
    assert guest.boot() == "A"
    assert guest.boot() == "B"


@pytest.mark.parametrize("kind", ["absent", "empty"])
def test_without_a_block_one_is_made_before_slot_a_is_overwritten(guest: StoppedGuest, kind: str):
    working(guest, "B")
    if kind == "absent":
        guest.remove("grubenv")
    else:
        guest.put("grubenv", b"")
    guest.fails("upgrade-install", "--slot", "A", guest.update("2"), status=69, code="TRUSTED_SLOT")
    guest.ok("upgrade-install", *INSIST, guest.update("2"))
    assert guest.block() == {"boot_alternative": "B", "boot_cycle": "stable"}
    assert guest.boot() == "B"
    guest.ok("upgrade-commit", "--slot", "A")
    assert guest.boot() == "A"


def test_the_other_slot_boots_if_the_run_dies_in_between(guest: StoppedGuest):
    working(guest, "A")
    working(guest, "B")
    update = guest.update("2", name="update-img.tar").read_bytes()
    command = guest.command("upgrade-install", *INSIST, "-")
    # More than the zeros at the end of an archive, wherever that is.
    done = subprocess.run(command, input=update[:-20480], capture_output=True, check=False)
    assert done.returncode == 65, done
    assert guest.record("A") == "void"
    assert guest.boot() == "B"
    assert guest.ok("next") == "B\n"


def test_an_image_that_is_refused_costs_nothing(guest: StoppedGuest, tmp_path: Path):
    image = working(guest, "A").read_bytes()
    before = guest.get("grubenv")
    bad = tmp_path / "bad.tar"
    bad.write_bytes(b"no archive" * 1000)
    guest.fails("upgrade-install", *INSIST, bad, status=65, code="IMAGE_FORMAT")
    assert guest.get("grubenv") == before
    assert guest.part("A_boot", len(image)) == image
    assert guest.boot() == "A"


@pytest.mark.parametrize(("slot", "insist"), [("B", ()), ("A", ("--overwrite-trusted",))])
def test_var_is_kept(guest: StoppedGuest, slot: str, insist: tuple[str, ...]):
    for name in ("A_var", "B_var"):
        guest.overwrite(name, LUKS)
    done = guest.run("upgrade-install", "--slot", slot, "--keep-var", *insist, guest.update("2"))
    assert done.returncode == 0, done.stderr
    assert f"manageboot: slot {slot} holds version 2, and its var as before" in done.stderr.splitlines()
    assert [guest.part(name, len(LUKS)) for name in ("A_var", "B_var")] == [LUKS] * 2
    guest.ok("upgrade-commit", "--slot", slot)
    assert guest.boot() == slot
    assert [guest.part(name, len(LUKS)) for name in ("A_var", "B_var")] == [LUKS] * 2
    assert f"Slot {slot} holds version 2, and its var as before" in guest.ok("history")


def test_var_can_not_be_kept_where_an_image_brings_one(guest: StoppedGuest):
    with guest.config.open("a") as file:
        file.write('[slots]\nwritten = ["boot", "root", "var"]\nwiped = []\n')
    guest.fails("upgrade-install", "--keep-var", guest.update("2"), status=2, code="USAGE")


def test_they_may_be_given_beside_the_disk(guest: StoppedGuest):
    guest.overwrite("A_var", LUKS)
    command = guest.command(
        "--slot=A", "--overwrite-trusted", "--keep-var", "guestos", "upgrade-install", guest.update("2")
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "slot A holds version 2, and its var as before" in done.stderr) == (0, True), done
    guest.ok("--slot", "A", "upgrade-commit")
    assert guest.block() == {"boot_alternative": "A", "boot_cycle": "first_boot"}
    guest.fails("--slot", "A", "status", status=2, code="USAGE")
    guest.fails("--slot", status=2, code="USAGE")


def test_what_makes_no_sense(guest: StoppedGuest):
    update = guest.update("2")
    guest.fails("upgrade-install", "--overwrite-trusted", update, status=2, code="USAGE")
    guest.fails("upgrade-install", "--slot", "C", update, status=2, code="USAGE")
    guest.fails("status", "--slot", "A", status=2, code="USAGE")
    guest.fails("upgrade-commit", "--keep-var", status=2, code="USAGE")
    here = [word for word in guest.command() if word not in {"--disk", str(guest.disk)}]
    for words in (["--slot", "B"], ["--keep-var"], ["--overwrite-trusted"]):
        done = subprocess.run([*here, "upgrade-install", *words, str(update)], capture_output=True, check=False)
        assert done.returncode == 2
        assert f"{words[0]} has no meaning without --disk [USAGE]".encode() in done.stderr


def test_a_damaged_block_names_no_trusted_slot(guest: StoppedGuest):
    guest.put("grubenv", bytes(1024))
    for arguments in (("--slot", "B"), INSIST):
        guest.fails("upgrade-install", *arguments, guest.update("2"), status=65, code="BLOCK_DAMAGED")
    assert not any(guest.part("A_boot", MIB))


def test_the_slot_stays_trusted_if_it_can_not_be_recorded_that_it_is_overwritten(guest: StoppedGuest):
    """The host's file system has no room for a record; nothing is written to the guest, and it boots what it booted."""
    image = working(guest, "A").read_bytes()
    before = guest.get("grubenv")
    guest.state.mkdir()
    # For the directory of the disk, and no file in there.
    run("mount", "-t", "tmpfs", "-o", "nr_inodes=3", "tmpfs", guest.state)
    try:
        guest.fails("upgrade-install", *INSIST, guest.update("2"), status=73, code="CANNOT_CREATE")
    finally:
        run("umount", guest.state)
    assert guest.get("grubenv") == before
    assert guest.part("A_boot", len(image)) == image
    assert guest.boot() == "A"
