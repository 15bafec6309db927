"""The disk of a guest that runs: queries answer, and say that they may be stale; whatever needs more is refused."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qemu_harness.layout import GUESTOS
from support.grubemu import SHIPPED
from support.images import MIB
from support.loop import loop_device
from support.stoppedguest import StoppedGuest

pytestmark = [pytest.mark.devices, pytest.mark.grub]

LOCKED = "a program, such as QEMU, holds a lock on it"
TRIES = {"mb_nonce": "x", "mb_ack": "x", "mb_tries": "3", "mb_tried": "1"}


@pytest.fixture
def guest(tmp_path: Path) -> StoppedGuest:
    return StoppedGuest(tmp_path, SHIPPED)


@contextmanager
def running(guest: StoppedGuest) -> Iterator[None]:
    """QEMU's own block layer has the disk, for writing and under its lock, as the machine does."""
    command = ["qemu-io", "-f", "raw", str(guest.disk)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdin.write("length\n")
        process.stdin.flush()
        assert process.stdout.readline()
        try:
            yield
        finally:
            process.stdin.close()


def heads(guest: StoppedGuest) -> list[bytes]:
    """What a guest would miss first."""
    return [guest.get("grubenv"), *(guest.part(f"{slot}_{role}", MIB) for slot in "AB" for role in ("boot", "root"))]


@pytest.mark.parametrize(
    ("block", "current", "following", "state"),
    [
        ({}, "A", "A", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "install"}, "B", "B", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "stable"}, "B", "B", "idle"),
        ({"boot_alternative": "B", "boot_cycle": "first_boot"}, "A", "B", "pending"),
        # It runs its last try; of a guest that is stopped the same block says that the trial is over.
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check"}, "B", "A", "trial"),
        ({"boot_alternative": "B", "boot_cycle": "failsafe_check", **TRIES}, "B", "B", "trial"),
    ],
)
def test_what_the_block_says_of_a_guest_that_runs(
    guest: StoppedGuest, block: dict[str, str], current: str, following: str, state: str
):
    guest.set_block(**{"other": "kept", **block})
    before = heads(guest)
    passive = "B" if current == "A" else "A"
    expected = {
        "current": current,
        "target": passive,
        "next": following,
        "current_partition": f"{guest.disk}@@{GUESTOS.offset(f'{current}_root')}",
        "target_partition": f"{guest.disk}@@{GUESTOS.offset(f'{passive}_root')}",
    }
    with running(guest):
        for verb, answer in expected.items():
            done = guest.run(verb)
            assert (done.returncode, done.stdout) == (0, f"{answer}\n"), done
            assert done.stderr == (
                f"manageboot: warning: the system may run, so the answer may be stale: {guest.disk}: {LOCKED}\n"
            )
        status = guest.status()
        assert (status["state"], status["booted"], status["next"]) == (state, current, following)
        assert (status["may_be_stale"], status["disk_user"]) == (True, f"{guest.disk}: {LOCKED}")
        assert status["fallback"] is None
    assert heads(guest) == before


def test_a_person_sees_that_it_may_be_stale(guest: StoppedGuest):
    with running(guest):
        first = guest.ok("status").splitlines()[0]
        assert '"may_be_stale": true' in guest.ok("history", "--json")
        assert "so the answer may be stale" in guest.run("history").stderr
    assert first == f"disk    {guest.disk}, whose system may run, so all this may be stale: {guest.disk}: {LOCKED}"


def test_a_guest_that_is_stopped_is_known_for_certain(guest: StoppedGuest):
    status = guest.status()
    assert (status["may_be_stale"], status["disk_user"]) == (False, None)
    assert '"may_be_stale": false' in guest.ok("history", "--json")
    for verb in ("status", "current", "next", "history", "target_partition"):
        assert guest.run(verb).stderr == ""
    assert guest.ok("current_partition") == f"{guest.disk}@@{GUESTOS.offset('A_root')}\n"


def test_what_the_guest_writes_meanwhile_is_seen(guest: StoppedGuest):
    """A block device is read through the host's cache, which knew the block from before."""
    with loop_device(guest.disk) as device:
        image, guest.disk = guest.disk, Path(device)
        assert guest.ok("next") == "A\n"
        guest.disk = image
        guest.set_block(boot_alternative="B", boot_cycle="first_boot")
        guest.disk = Path(device)
        with running(guest):
            assert guest.ok("next") == "B\n"
        guest.disk = image


@pytest.mark.parametrize(
    "verb", ["upgrade-install", "upgrade-commit", "upgrade-cancel", "rollback", "doctor", "inspect"]
)
def test_what_is_refused_while_it_runs(guest: StoppedGuest, verb: str):
    images = [guest.update("2")] if verb in {"upgrade-install", "inspect"} else []
    before = heads(guest)
    with running(guest):
        assert LOCKED in guest.fails(verb, *images, status=69, code="DEVICE_BUSY")
    assert heads(guest) == before
