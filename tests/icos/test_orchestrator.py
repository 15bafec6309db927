"""Upgrades of a guestOS, driven as its orchestrator does, on its own disk layout, and judged by real GRUB."""

import hashlib
import itertools
import signal
import subprocess
from pathlib import Path

import pytest

from icos.orchestrator import Orchestrator
from manageboot.daemon import statefile
from manageboot.daemon.memory import Memory
from manageboot.daemon.statefile import Shown
from support.blocks import environment_block
from support.guestnode import GuestNode, release
from support.loop import run

pytestmark = [pytest.mark.devices, pytest.mark.grub]

FRESH = {
    "install": environment_block(boot_alternative="A", boot_cycle="install"),
    "no values": environment_block(),
    "no block": None,
}


class KeyExchange:
    """Another virtual machine boots the slot from the same disk: it writes to boot, and makes var an encrypted one."""

    def __init__(self, node: GuestNode, slot: str) -> None:
        self._var = node.devices[slot]["var"]
        self._boot = node.devices[slot]["boot"]
        self.key = node.directory / f"key-{slot}"
        self.key.write_bytes(b"k" * 32)

    def __call__(self) -> None:
        assert not self.is_there(), "an installation leaves nothing of the old var"
        run("cryptsetup", "luksFormat", "--batch-mode", "--type=luks2", "--pbkdf=pbkdf2",
            "--pbkdf-force-iterations=1000", self._var, self.key)  # fmt: skip
        run("debugfs", "-w", "-R", f"write {self.key} exchanged", self._boot)

    def is_there(self) -> bool:
        """Say whether the key still opens var."""
        try:
            run("cryptsetup", "open", "--test-passphrase", f"--key-file={self.key}", self._var)
        except AssertionError:
            return False
        return "exchanged" in run("debugfs", "-R", "ls /", self._boot)


def orchestrator(node: GuestNode, exchange: KeyExchange) -> Orchestrator:
    return Orchestrator(node.directory / "manageboot.sh", node.directory, key_exchange=exchange)


@pytest.mark.parametrize(
    ("layout", "script", "fresh"),
    [
        ("guestos", "stock", "install"),
        ("guestos", "shipped", "no block"),
        ("boundary-guestos", "stock", "no values"),
        ("boundary-guestos", "shipped", "install"),
    ],
)
def test_from_a_fresh_node_through_two_upgrades_and_a_fallback(tmp_path: Path, layout: str, script: str, fresh: str):
    with GuestNode(tmp_path, layout=layout, script=script) as node:
        if (block := FRESH[fresh]) is None:
            node.grubenv.unlink()
        else:
            node.grubenv.write_bytes(block)
        exchanges = {slot: KeyExchange(node, slot) for slot in "AB"}
        # As the first boot leaves it: the booted var is encrypted. GRUB's word counts, and B is empty.
        assert node.boot() == "A"
        exchanges["A"]()

        for number, (old, new) in enumerate([("A", "B"), ("B", "A")]):
            orchestrator(node, exchanges[new]).start()
            image = release(tmp_path / f"v{number}", f"v{number}")
            sha256 = hashlib.sha256(image.read_bytes()).hexdigest()
            assert orchestrator(node, exchanges[new]).upgrade(image, sha256)
            assert node.reboots.read_text() == "r" * (number + 1)
            assert node.boot() == new
            orchestrator(node, exchanges[old]).start()
            assert [node.boot(), node.boot()] == [new, new]
            assert exchanges[new].is_there()

        # The third one never confirms.
        image = release(tmp_path / "bad", "bad")
        assert orchestrator(node, exchanges["B"]).upgrade(image, hashlib.sha256(image.read_bytes()).hexdigest())
        assert [node.boot(), node.boot(), node.boot()] == ["B", "A", "A"]
        assert node.status()["state"] == "idle"


def test_a_bad_release_costs_nothing_but_the_try(tmp_path: Path):
    with GuestNode(tmp_path, script="stock") as node:
        exchange = KeyExchange(node, "B")
        image = release(tmp_path / "v1", "v1")
        good = image.read_bytes()
        for bad in (good[:-100], b"", bytes(len(good)), good[:50_000] + b"\xff" + good[50_001:]):
            image.write_bytes(bad)
            assert not orchestrator(node, exchange).upgrade(image, hashlib.sha256(bad).hexdigest())
            assert node.boot() == "A"
        image.write_bytes(good)
        assert orchestrator(node, exchange).upgrade(image, hashlib.sha256(good).hexdigest())
        assert node.boot() == "B"


def with_reboots(node: GuestNode, command: str) -> None:
    """Let the node reboot by another command."""
    lines = node.config.read_text().splitlines()
    new = f'reboot_command = ["/bin/sh", "-c", "{command}"]'
    node.config.write_text("\n".join(new if line.startswith("reboot_command") else line for line in lines))


@pytest.mark.parametrize("next_release", ["the same", "another"])
@pytest.mark.parametrize("how", ["it could not be started", "it did not come"])
def test_a_node_whose_reboot_fails_gets_out_by_itself(tmp_path: Path, how: str, next_release: str):
    """The orchestrator always begins with the installation; what it gets is only that something went wrong."""
    with GuestNode(tmp_path, script="stock") as node:
        exchange = KeyExchange(node, "B")
        images = [release(tmp_path / version, version) for version in ("v1", "v2")]
        sums = [hashlib.sha256(image.read_bytes()).hexdigest() for image in images]
        with_reboots(node, "false" if how == "it could not be started" else "true")
        assert orchestrator(node, exchange).upgrade(images[0], sums[0]) is (how == "it did not come")
        assert node.status()["state"] == "pending"
        if how == "it did not come":
            # Whoever is told that it was done waits for the end of the system; then the daemon misses the reboot.
            assert not orchestrator(node, exchange).upgrade(images[0], sums[0])
            assert node.block()["boot_cycle"] == "first_boot"
            statefile.store(str(node.lock.parent), Memory(), Shown(overdue=True))
        again = 0 if next_release == "the same" else 1
        with_reboots(node, f"echo -n r >>{node.reboots}")
        assert orchestrator(node, exchange).upgrade(images[again], sums[again])
        assert node.reboots.read_text() == "r"
        assert node.status()["slots"]["B"]["record"]["version"] == f"v{again + 1}"
        assert node.boot() == "B"
        assert exchange.is_there()
        orchestrator(node, exchange).start()
        assert [node.boot(), node.boot()] == ["B", "B"]


def test_a_node_whose_commit_was_killed_gets_out_by_itself(tmp_path: Path):
    """The slot is armed, and its record is not written yet: whoever had no more memory, say, asked for no reboot."""
    with GuestNode(tmp_path, script="stock") as node:
        image = release(tmp_path / "v1", "v1")
        node.ok("upgrade-install", image)
        at_the_record = ["-P", node.state / "record.json.new", "-e", "inject=rename:signal=KILL"]
        killed = ["strace", "-f", "-o", "/dev/null", *at_the_record, *node.command("upgrade-commit")]
        assert subprocess.run(killed, check=False, timeout=60).returncode == -signal.SIGKILL
        assert node.status()["state"] == "pending"
        exchange = KeyExchange(node, "B")
        assert orchestrator(node, exchange).upgrade(image, hashlib.sha256(image.read_bytes()).hexdigest())
        assert node.boot() == "B"


def test_a_commit_that_asked_for_no_reboot_is_not_taken_back(tmp_path: Path):
    with GuestNode(tmp_path, script="stock") as node:
        image = release(tmp_path / "v1", "v1")
        node.ok("upgrade-install", image)
        node.ok("upgrade-commit", "--no-reboot")
        statefile.store(str(node.lock.parent), Memory(), Shown(overdue=True))
        assert not orchestrator(node, KeyExchange(node, "B")).upgrade(
            image, hashlib.sha256(image.read_bytes()).hexdigest()
        )
        assert node.boot() == "B"


def test_the_partitions_are_those_of_the_profile():
    """What the loop devices stand for here, a guest finds by its PARTUUID."""
    from manageboot.config import load
    from manageboot.protocol import Slot
    from support.guestdisk import LAYOUTS

    slots = load("/dev/null", profile="guestos").slots
    for layout, slot in itertools.product(LAYOUTS.values(), Slot):
        for part in ("boot", "root", "var"):
            assert f"PARTUUID={layout.partition(f'{slot}_{part}').partuuid}" in str(slots[slot])


def test_the_documented_settings_of_an_old_guest_are_read(tmp_path: Path):
    from manageboot.config import load
    from manageboot.protocol import Slot

    text = (Path(__file__).parents[2] / "docs" / "ic-os.md").read_text()
    (tmp_path / "old.toml").write_text(text.partition("```toml\n")[2].partition("```")[0])
    slots = load(str(tmp_path / "old.toml"), profile="guestos").slots
    for slot, first in zip(Slot, (4, 7), strict=True):
        for offset in range(3):
            assert f"/dev/vda{first + offset}" in str(slots[slot])
        assert "PARTUUID" not in str(slots[slot])
