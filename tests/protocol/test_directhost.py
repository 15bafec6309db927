"""The host that boots its guests directly: docs/protocol.md says what it does, and GRUB and the agent agree with it."""

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from manageboot.boot import envblock
from manageboot.boot.markers import NAMES, Markers, TrialMarker
from manageboot.protocol import MAX_TRIES, BlockState, Cycle, Slot
from protocol import directhost
from protocol.directhost import DirectHost, NotStartedError
from protocol.rules import DOCUMENT
from support.blocks import environment_block, variables
from support.grubemu import STOCK, Answer, Grub, Question

pytestmark = pytest.mark.grub

HEAD = b"# GRUB Environment Block\n"


def padded(text: bytes) -> bytes:
    return text.ljust(1024, b"#")


def told(slot: str) -> str:
    return f"console=ttyS0 dfinity.system={slot}"


STABLE_A = environment_block(boot_alternative="A", boot_cycle="stable")
STABLE_B = environment_block(boot_alternative="B", boot_cycle="stable")
TRIAL = environment_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="1f")
TRIED = environment_block(boot_alternative="B", boot_cycle="failsafe_check", mb_nonce="1f")
TWICE = HEAD + b"boot_alternative=B\nmb_nonce=1\nboot_alternative=A\nboot_cycle=first_boot\nmb_nonce=2\n"
COMMENTED = HEAD + b"# by hand\nboot_alternative=B\nboot_cycle=install\n# mb_nonce = 1f, see above\n"
CUT = HEAD + b"boot_alternative=B # now\nboot_cycle=first_boot#\nnote=two words\nother=a#b\n"

# What the host finds, and the slots whose boot partition is as it should be: the slot that it starts (None: no guest),
# and the block afterwards (None: as it was).
ROWS: dict[str, list[tuple[bytes | None, str, str | None, bytes | None]]] = {
    "no block, or bytes that are no UTF-8": [(None, "AB", None, None), (padded(HEAD + b"\xff\n"), "AB", None, None)],
    "another value of `boot_alternative` or `boot_cycle` than those above": [
        (environment_block(boot_alternative="C", boot_cycle="stable"), "AB", None, None),
        (environment_block(boot_alternative="A", boot_cycle="later"), "AB", None, None),
        (environment_block(boot_alternative="", boot_cycle="stable"), "AB", None, None),
    ],
    "text without these two names, or an empty file": [
        (b"", "AB", "A", STABLE_A),
        (b"x" * 1024, "AB", "A", STABLE_A),
        (bytes(1024), "AB", "A", STABLE_A),
        (environment_block(), "AB", "A", STABLE_A),
    ],
    "a name that is there twice": [
        (padded(TWICE), "AB", "A",
         padded(HEAD + b"boot_alternative=A\nboot_cycle=failsafe_check\nmb_nonce=1\nmb_nonce=2\n")),
    ],
    "a line that is not an assignment, a comment for instance": [
        (padded(COMMENTED), "AB", "B", padded(HEAD + b"boot_alternative=B\nboot_cycle=stable\nmb_nonce=1f,\n")),
    ],
    "a value with a blank or `#`": [
        (padded(CUT), "AB", "B", padded(HEAD + b"boot_alternative=B\nboot_cycle=failsafe_check\nnote=two\nother=a\n")),
    ],
    "a boot partition that can't be mounted, or lacks kernel or initrd": [
        (TRIAL, "A", None, None), (TRIED, "B", None, None), (STABLE_A, "B", None, None),
    ],
    "a boot partition without `boot_args`": [(TRIAL, "AB", "B", TRIED), (TRIED, "AB", "A", None)],
    "a block that is not to change": [
        (STABLE_A, "AB", "A", None), (STABLE_B, "AB", "B", None),
        (padded(HEAD + b"# by hand\nboot_alternative=B\nboot_cycle=stable\n"), "AB", "B", None),
    ],
    "any other block": [
        (TRIAL, "AB", "B", TRIED),
        (TRIED, "AB", "A", environment_block(boot_alternative="A", boot_cycle="stable", mb_nonce="1f")),
        (environment_block(boot_alternative="B", boot_cycle="install"), "AB", "B", STABLE_B),
        (HEAD + b"boot_cycle=first_boot\n", "AB", "A",
         environment_block(boot_alternative="A", boot_cycle="failsafe_check")),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def grub(tmp_path_factory: pytest.TempPathFactory) -> Grub:
    return Grub(tmp_path_factory.mktemp("grub"), STOCK)


def test_the_table_has_the_rows_that_are_tried():
    section = DOCUMENT.read_text().partition("## A host that boots its guests directly\n")[2]
    assert re.findall(r"^\| (.+?) \| ", section, re.MULTILINE)[1:] == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_each_row(row: str, grub: Grub):
    old_way = "without `boot_args`" in row
    host = DirectHost(grub, boot_args=not old_way)
    for block, usable, slot, after in ROWS[row]:
        question = Question(block, None, usable)
        if old_way:
            assert host.ask(question) == grub.ask(question)
            continue
        assert host.ask(question) == Answer(slot, told(slot) if slot else "", block if after is None else after)
        unwritable = host.ask(question._replace(writable=False))
        assert unwritable == (Answer(None, "", block) if after is not None else host.ask(question))


@pytest.mark.parametrize("cycle", [*Cycle, None])
@pytest.mark.parametrize("slot", [*Slot, None])
def test_it_does_what_a_stock_script_does(slot: Slot | None, cycle: Cycle | None, grub: Grub):
    named = {"boot_alternative": slot, "boot_cycle": cycle}
    before = environment_block(**{name: value for name, value in named.items() if value}, mb_trial="userspace")
    question = Question(before, None, "AB")
    by_the_host, by_grub = DirectHost(grub).ask(question), grub.ask(question)
    assert by_the_host.slot == by_grub.slot
    # The host writes out what a name that is not there stands for.
    assumed = {"boot_alternative": "A", "boot_cycle": "stable"}
    assert variables(by_the_host.block) == {**assumed, **variables(by_grub.block)}


def test_a_block_that_is_full_is_not_rewritten(grub: Grub):
    # Four bytes more do not fit.
    block = environment_block(boot_alternative="B", boot_cycle="first_boot", note="x" * 950)
    assert (len(block), block[-4:]) == (1024, b"x\n##")
    assert DirectHost(grub).ask(Question(block, None, "AB")) == Answer(None, "", block)


@pytest.mark.parametrize("trial", ["", *TrialMarker])
@pytest.mark.parametrize("state", list(product(Slot, Cycle)))
def test_what_the_agent_writes_is_kept(tmp_path: Path, state: tuple[Slot, Cycle], trial: str):
    """In files: the host renames, and the agent writes in place, in turns."""
    path = tmp_path / "grubenv"
    path.write_bytes(padded(HEAD + b"# by hand\nnote=two words\n"))
    markers = Markers("1f2e3d4c", "1f2e3d4c", str(MAX_TRIES), "1", "unconfirmed", trial)
    envblock.write(str(path), BlockState(*state), markers)
    slot = directhost.rewrite(path)
    found = envblock.read(str(path))
    assert found.state is not None
    assert (found.state.alternative, found.markers) == (slot, markers)
    listed = subprocess.run(["grub-editenv", path, "list"], check=True, capture_output=True, text=True).stdout
    others = dict(line.split("=") for line in listed.splitlines() if not line.startswith("boot_"))
    note = "two words" if state[1] is Cycle.STABLE else "two"
    assert others == {"note": note, **{name: value for name, value in zip(NAMES, markers, strict=True) if value}}
    envblock.write(str(path), BlockState(Slot(slot), Cycle.STABLE), Markers())
    assert directhost.rewrite(path) == slot


def test_a_file_that_is_not_there_starts_nothing(tmp_path: Path):
    with pytest.raises(NotStartedError):
        directhost.rewrite(tmp_path / "grubenv")
