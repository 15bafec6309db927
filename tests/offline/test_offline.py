"""The disk of a stopped guest, worked on from outside: the verbs, the slot that counts as booted; who is kept out is in
`test_disk_in_use.py`."""

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from qemu_harness import layout
from qemu_harness.layout import GUESTOS
from support.fatdisk import FatDisk
from support.grubemu import SHIPPED, STOCK
from support.images import MIB
from support.loop import loop_device, run
from support.stoppedguest import StoppedGuest

pytestmark = [pytest.mark.devices, pytest.mark.grub]


@pytest.fixture
def guest(tmp_path: Path) -> StoppedGuest:
    return StoppedGuest(tmp_path, SHIPPED)


def attached(disk: Path) -> str:
    return run("losetup", "--associated", disk)


def left_attached(disk: Path, count: int = 0) -> str:
    """What is left after a moment: whoever lists all loop devices has each of them open for an instant."""
    deadline = time.monotonic() + 60
    while len((found := attached(disk)).splitlines()) > count and time.monotonic() < deadline:
        time.sleep(0.05)
    return "" if len(found.splitlines()) <= count else found


@pytest.mark.parametrize("script", [SHIPPED, STOCK], ids=["shipped", "stock"])
def test_a_guest_that_is_broken_in_both_slots_is_repaired(tmp_path: Path, script: Path):
    guest = StoppedGuest(tmp_path, script)
    guest.set_block(boot_alternative="A", boot_cycle="stable", other="kept")
    before = {name: guest.part(name, 4 * MIB) for name in ("A_boot", "A_root", "A_var", "config")}
    assert guest.boot() == ""
    update = guest.update("2")
    assert guest.ok("upgrade-install", update) == ""
    assert not left_attached(guest.disk)
    for part in ("boot", "root"):
        image = (update.parent / f"{part}.img").read_bytes()
        assert guest.part(f"B_{part}", len(image)) == image
    done = guest.run("upgrade-commit")
    assert (done.returncode, done.stdout) == (0, "")
    assert "slot B is committed" in done.stderr
    assert f"Slot B is committed, on {guest.disk}" in guest.ok("history")
    assert guest.block() == {"boot_alternative": "B", "boot_cycle": "first_boot", "other": "kept"}
    assert guest.boot() == "B"
    assert guest.block()["boot_cycle"] == "failsafe_check"
    # Nothing else of the disk has changed.
    assert {name: guest.part(name, 4 * MIB) for name in before} == before


def test_var_is_wiped(guest: StoppedGuest):
    for slot in "AB":
        guest.overwrite(f"{slot}_var", b"LUKS" * 1024)
    guest.ok("upgrade-install", guest.update("2"))
    assert not any(guest.part("B_var", 4096))
    assert guest.part("A_var", 4096) == b"LUKS" * 1024


@pytest.mark.parametrize(
    ("block", "current", "following", "state"),
    [
        ({}, "A", "A", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "install"}, "B", "B", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "stable"}, "B", "B", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "first_boot"}, "A", "B", "pending"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check"}, "A", "A", "idle"),
        (
            {"boot_alternative": "B", "boot_cycle": "failsafe_check", "mb_nonce": "x", "mb_ack": "x"}
            | {"mb_tries": "3", "mb_tried": "1"},
            "B",
            "B",
            "trial",
        ),
    ],
)
def test_the_slot_that_counts_as_booted(
    guest: StoppedGuest, block: dict[str, str], current: str, following: str, state: str
):
    guest.set_block(**{"other": "kept", **block})
    before = guest.get("grubenv")
    assert [guest.ok(verb) for verb in ("current", "next")] == [f"{current}\n", f"{following}\n"]
    assert guest.ok("target") == ("B\n" if current == "A" else "A\n")
    status = guest.status()
    assert (status["state"], status["booted"], status["disk"]) == (state, current, str(guest.disk))
    assert status["block"]["boot_cycle"] == block.get("boot_cycle", "stable")
    assert status["version"] is None
    refusals = {"idle": None, "pending": "COMMIT_PENDING", "trial": "ON_TRIAL"}
    refusal = refusals[state]
    assert guest.get("grubenv") == before
    update = guest.update("2")
    if refusal is None:
        guest.ok("upgrade-install", update)
        guest.ok("upgrade-commit")
        assert guest.block()["boot_alternative"] != current
        assert guest.boot() not in {"", current}
    else:
        guest.fails("upgrade-install", update, status=69, code=refusal)
        assert guest.get("grubenv") == before


def test_a_partition_that_mtools_refuse(guest: StoppedGuest, tmp_path: Path):
    """FAT32 of fewer clusters than the specification wants: GRUB reads it, so it is worked on."""
    first = str(GUESTOS.offset("grub") // layout.SECTOR_SIZE)
    run("mkfs.vfat", "-F", "32", "-s", "8", "--offset", first, guest.disk, str(layout.GRUB_SIZE >> 10))
    fat = FatDisk(guest.disk, GUESTOS.offset("grub"))
    block = tmp_path / "block"
    run("grub-editenv", block, "create")
    run("grub-editenv", block, "set", "boot_alternative=B", "boot_cycle=first_boot")
    fat.put(b"GRUB    CFG", SHIPPED.read_bytes(), bits=32)
    fat.put(b"GRUBENV    ", block.read_bytes(), bits=32)
    assert [guest.ok(verb) for verb in ("current", "target", "next")] == ["A\n", "B\n", "B\n"]
    assert guest.status()["state"] == "pending"
    assert json.loads(guest.run("doctor", "--json").stdout)["findings"] == []
    guest.ok("upgrade-cancel")
    assert guest.block() == {"boot_alternative": "A", "boot_cycle": "stable"}
    # There mtools can't make a block, newer ones only without a geometry; that is said before anything is void.
    before = guest.part("B_boot", MIB)
    fat.write(24, bytes(4))
    fat.write(fat.data + 32, b"\xe5")
    guest.fails("upgrade-install", guest.update("2"), status=73, code="CANNOT_CREATE")
    assert guest.part("B_boot", MIB) == before


def test_a_pending_commit_is_taken_back(guest: StoppedGuest):
    guest.set_block(boot_alternative="B", boot_cycle="first_boot")
    guest.ok("upgrade-cancel")
    assert guest.block() == {"boot_alternative": "A", "boot_cycle": "stable"}


def test_a_trial_that_has_tries_left_is_aborted(guest: StoppedGuest):
    tries = {"mb_nonce": "x", "mb_ack": "x", "mb_tries": "3", "mb_tried": "1"}
    guest.set_block(boot_alternative="B", boot_cycle="failsafe_check", **tries)
    guest.ok("rollback")
    assert guest.ok("next") == "A\n"
    guest.ok("upgrade-install", guest.update("2"))
    guest.ok("upgrade-commit")
    assert guest.boot() == "B"


def test_a_commit_needs_what_was_installed(guest: StoppedGuest):
    guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    guest.ok("upgrade-install", guest.update("2"))
    # The guest ran, and began an upgrade of its own.
    guest.overwrite("B_root", b"something else")
    line = guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert "slot B: its root was changed since the installation" in line
    assert guest.block().get("boot_cycle") is None


def test_a_commit_that_stays_or_not(guest: StoppedGuest):
    guest.overwrite("A_boot", (guest.update("1").parent / "boot.img").read_bytes())
    guest.ok("upgrade-install", guest.update("2"))
    guest.ok("upgrade-commit")
    assert guest.boot() == "B"
    assert guest.status()["fallback"] == {"slot": "B", "cause": "unknown"}
    assert guest.boot() == "A"
    guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")


@pytest.mark.parametrize("kind", ["absent", "empty"])
def test_a_block_is_made_where_there_is_none(guest: StoppedGuest, kind: str):
    if kind == "absent":
        guest.remove("grubenv")
    else:
        guest.put("grubenv", b"")
    assert guest.status()["block"]["condition"] == kind
    guest.ok("upgrade-install", guest.update("2"))
    guest.ok("upgrade-commit")
    assert len(guest.get("grubenv")) == 1024
    assert guest.boot() == "B"
    assert guest.block()["boot_cycle"] == "failsafe_check"


def test_no_block_is_made_where_grub_would_not_look(guest: StoppedGuest):
    guest.remove("grubenv")
    guest.remove("grub.cfg")
    guest.fails("upgrade-install", guest.update("2"), status=66, code="NO_BLOCK")


def test_the_second_witness_is_brought_up_to_date(guest: StoppedGuest):
    guest.set_block(mb_trusted="B")
    guest.put("manageboot.env", guest.get("grubenv"))
    guest.set_block(boot_alternative="A", boot_cycle="stable")
    guest.ok("upgrade-install", guest.update("2"))
    assert b"\nmb_trusted=A\n" in guest.get("manageboot.env")


def test_a_damaged_block_is_named(guest: StoppedGuest):
    guest.put("grubenv", bytes(1024))
    line = guest.fails("status", status=65, code="BLOCK_DAMAGED")
    assert f"{guest.disk}@@{GUESTOS.offset('grub')}::grubenv" in line
    done = guest.run("doctor", "--json")
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"]] == ["BLOCK_DAMAGED"]
    guest.fails("upgrade-install", guest.update("2"), status=65, code="BLOCK_DAMAGED")


def test_doctor_and_inspect(guest: StoppedGuest):
    assert guest.ok("doctor") == "nothing is wrong with the boot chain of this node\n"
    inspected = json.loads(guest.ok("inspect", "--json", guest.update("2")))
    assert inspected["images"]["boot.img"]["capacity"] == layout.BOOT_SIZE
    assert inspected["fits"] is True
    guest.put("grubenv", guest.get("grubenv")[:-1] + b"x")
    done = guest.run("doctor", "--json")
    assert [finding["code"] for finding in json.loads(done.stdout)["findings"]] == ["BLOCK_UNSOUND"]


@pytest.mark.parametrize("verb", ["confirm", "daemon"])
def test_what_only_the_running_system_can_say(guest: StoppedGuest, verb: str):
    guest.fails(verb, status=2, code="USAGE")
    guest.fails("-f", "/boot/grub/grubenv", "status", status=2, code="USAGE")


def test_the_kernel_command_line_is_that_of_the_host(guest: StoppedGuest):
    """It says nothing of the guest, whatever it says."""
    guest.set_block(boot_alternative="B", boot_cycle="stable")
    guest.cmdline.write_text('dfinity.system=A dfinity.system=A"B" dfinity.system="A\n')
    guest.config.write_text(f'{guest.config.read_text()}[boot]\ncmdline = "{guest.cmdline}"\n')
    assert [guest.ok(verb) for verb in ("current", "next")] == ["B\n", "B\n"]
    assert guest.ok("doctor") == "nothing is wrong with the boot chain of this node\n"
    guest.ok("upgrade-install", guest.update("2"))
    guest.ok("upgrade-commit")
    assert guest.block() == {"boot_alternative": "A", "boot_cycle": "first_boot"}


def test_one_partition_is_not_taken_for_two(guest: StoppedGuest):
    before = guest.part("A_root", MIB)
    text = guest.config.read_text()
    for other in ("A_root", "grub"):
        guest.config.write_text(f'{text}[slots.B]\nroot = "PARTLABEL={other}"\n')
        line = guest.fails("upgrade-install", guest.update(f"2-{other}"), status=69, code="DEVICE_BUSY")
        assert f"cannot use PARTLABEL={other} on {guest.disk}: it is the same partition as PARTUUID=" in line
    assert guest.part("A_root", MIB) == before


def test_runs_wait_for_each_other(guest: StoppedGuest):
    """And a query that comes between does not make one fail."""
    update = guest.update("2")
    with loop_device(guest.disk) as device:
        image, guest.disk = guest.disk, Path(device)
        query = ["sh", "-c", 'while :; do "$@"; done', "sh", *guest.command("status")]
        with subprocess.Popen(query, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as asking:
            try:
                command = guest.command("upgrade-install", "--lock-timeout", "60", update)
                runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
                said = [one.communicate(timeout=120)[1] for one in runs]
            finally:
                asking.kill()
        assert [one.returncode for one in runs] == [0, 0, 0], said
        left_attached(image, 1)
        guest.disk = image


def test_a_query_waits_for_nobody_and_says_who_it_is(guest: StoppedGuest):
    lock = next_to(guest, "disk")
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        guest.fails("upgrade-cancel", status=75, code="LOCKED")
        guest.fails("status", status=75, code="LOCKED")


def next_to(guest: StoppedGuest, name: str) -> Path:
    """A file beside the lock of the disk, which a first run makes."""
    guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    return next(guest.lock.parent.rglob(f"disks/*/{name}"))


def test_a_name_that_is_not_utf_8(guest: StoppedGuest):
    directory = Path(os.fsdecode(os.fsencode(guest.directory) + b"/\xff"))
    directory.mkdir()
    guest.disk = guest.disk.rename(directory / os.fsdecode(b"\xfe.img"))
    guest.ok("upgrade-install", guest.update("2"))
    guest.ok("upgrade-commit")
    guest.status()
    assert "Slot B is committed" in guest.ok("history")
    assert guest.block()["boot_cycle"] == "first_boot"
    with loop_device(guest.disk):
        guest.fails("doctor", status=69, code="DEVICE_BUSY")
        assert guest.status()["may_be_stale"] is True
    guest.disk = directory / os.fsdecode(b"\xfd")
    guest.fails("status", status=66, code="NO_DEVICE")


def test_a_role_that_is_not_configured_any_more(guest: StoppedGuest):
    def configure(*written: str) -> None:
        slots = "".join(
            f"[slots.{slot}]\n"
            + "".join(
                f'{role} = "PARTUUID={GUESTOS.partition(f"{slot}_{role}").partuuid}"\n' for role in (*written, "var")
            )
            for slot in "AB"
        )
        guest.config.write_text(
            f'profile = "custom"\n[boot]\ngrub_partition = "PARTUUID={GUESTOS.partition("grub").partuuid}"\n'
            f'[state]\ndirectory = "{guest.state}"\nlock = "{guest.lock}"\n[slots]\nwritten = {list(written)}\n{slots}'
        )

    configure("boot", "root")
    guest.ok("upgrade-install", guest.update("2"))
    configure("root")
    line = guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    assert "its boot was installed, and is no longer in the configuration" in line


def test_nothing_is_void_where_no_block_can_be_made(guest: StoppedGuest):
    guest.ok("upgrade-install", guest.update("1"))
    guest.remove("grubenv")
    command = guest.command("upgrade-install", guest.update("2"))
    environment = os.environ | {"PATH": str(guest.directory)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "there is no program mcopy" in done.stderr) == (73, True), done
    assert guest.record("B") == "installed"


def test_a_whole_device(guest: StoppedGuest, tmp_path: Path):
    with loop_device(guest.disk) as device:
        here, guest.disk = guest.disk, Path(device)
        guest.ok("upgrade-install", guest.update("2"))
        guest.ok("upgrade-commit")
        assert not left_attached(here, 1)  # the device itself, and no other
        assert not left_attached(Path(device))
        # Something else has it: O_EXCL is how the kernel knows.
        descriptor = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            said = "it is mounted, or a device lies on it"
            assert said in guest.fails("doctor", status=69, code="DEVICE_BUSY")
            assert guest.status()["disk_user"] == f"{device}: {said}"
        finally:
            os.close(descriptor)
        guest.disk = here
    assert guest.boot() == "B"


def test_the_record_is_of_one_disk(guest: StoppedGuest, tmp_path: Path):
    guest.ok("upgrade-install", guest.update("2"))
    assert guest.record("B") == "installed"
    copy = tmp_path / "copy.img"
    run("cp", "--sparse=always", guest.disk, copy)
    guest.disk = copy
    assert guest.record("B") is None
    guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")


def test_a_run_that_dies_leaves_nothing_attached(guest: StoppedGuest):
    update = guest.update("2", name="update-img.tar")
    reader, writer = os.pipe()
    command = [*guest.command("upgrade-install", "-")]
    with subprocess.Popen(command, stdin=reader, stderr=subprocess.PIPE) as process:
        os.close(reader)
        content = update.read_bytes()
        os.write(writer, content[:-1024])
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and "installing" not in "".join(
            path.read_text() for path in guest.state.rglob("record.json")
        ):
            assert process.poll() is None
            time.sleep(0.05)
        assert attached(guest.disk)
        line = guest.fails("upgrade-install", update, status=75, code="LOCKED")
        assert f"({process.pid} upgrade-install)" in line
        started = subprocess.run(["qemu-io", "-f", "raw", "-c", "length", guest.disk], capture_output=True, check=False)
        assert b"lock" in started.stderr, started
        process.kill()
        process.wait()
    os.close(writer)
    assert not left_attached(guest.disk)
    guest.fails("upgrade-commit", status=69, code="NOTHING_INSTALLED")
    guest.ok("upgrade-install", update)
    guest.ok("upgrade-commit")
    assert guest.boot() == "B"
