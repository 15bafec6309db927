"""What the shipped script may not take for granted: where GRUB was started from, its commands, and what was set before.

Each is asked of GRUB's own interpreter. A command that GRUB lacks is called by a name here that no GRUB knows; for GRUB
an unknown command is one that worked.
"""

import re
from itertools import product
from pathlib import Path

import pytest

from protocol.lvmdisk import GRUB_OFFSET, lvm_disk
from support.blocks import environment_block, variables
from support.grubemu import FOUND, SHIPPED, Answer, Grub, Question
from support.loop import run

pytestmark = pytest.mark.grub

TEXT = SHIPPED.read_text()

PENDING = environment_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="1f")
TRIAL = environment_block(boot_alternative="B", boot_cycle="failsafe_check", mb_nonce="1f", mb_ack="1f")
TRUSTED = {slot: environment_block(boot_alternative=slot, boot_cycle="stable") for slot in "AB"}
QUESTIONS = (
    Question(PENDING, None, "AB"),
    Question(PENDING, None, "A"),
    Question(PENDING, None, "AB", writable=False),
    Question(TRIAL, None, "AB"),
    Question(TRUSTED["A"], None, "AB"),
    Question(TRUSTED["B"], None, "AB"),
    Question(TRUSTED["B"], None, "A"),
    Question(b"x" * 1024, environment_block(mb_trusted="B"), "AB"),
)


def without(*commands: str) -> str:
    """Return the script for a GRUB that lacks some commands."""
    text = TEXT
    for command in commands:
        place = rf"^(\s*(?:if |elif )?){re.escape(command)}(?=[ ;\n])"
        text, count = re.subn(place, r"\1nosuch_command", text, flags=re.MULTILINE)
        assert count, command
    return text


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Answer]:
    """What comes of the questions where everything is as it should be."""
    grub = Grub(tmp_path_factory.mktemp("grub"), SHIPPED)
    answers = [grub.ask(question) for question in QUESTIONS]
    assert [answer.slot for answer in answers] == ["B", "A", "A", "A", "A", "B", "A", "B"]
    return answers


STARTS = {
    "a prefix without a device": "set prefix=/\nset root=hd0,gpt2",
    "an empty prefix": "set prefix=\nset root=hd0,gpt2",
    "no prefix": "unset prefix\nset root=hd0,gpt2",
    "a prefix in memory": "set prefix=(memdisk)/boot/grub\nset root=hd0,gpt2",
    "a prefix on another device": "set prefix=(cd0)/boot/grub\nset root=hd0,gpt2",
    "no root": "set prefix=(hd0,gpt2)/\nunset root",
    "a root in memory": "set prefix=(hd0,gpt2)\nset root=memdisk",
    "neither prefix nor root": "unset prefix\nunset root",
    "both in memory": "set prefix=(memdisk)/boot/grub\nset root=memdisk",
}


@pytest.mark.parametrize("lacking", [(), ("regexp",)], ids=["", "without regexp"])
@pytest.mark.parametrize("start", STARTS)
def test_wherever_grub_was_started_from(tmp_path: Path, expected: list[Answer], start: str, lacking: tuple[str, ...]):
    grub = Grub(tmp_path, without(*lacking), found=STARTS[start])
    assert [grub.ask(question) for question in QUESTIONS] == expected


@pytest.mark.parametrize("lacking", [(), ("regexp",)], ids=["", "without regexp"])
@pytest.mark.parametrize("found", ["set prefix=(hd2,gpt2)\nset root=hd2,gpt2", "unset prefix\nset root=hd2,gpt2",
                                   "unset prefix\nunset root", "set prefix=(memdisk)/grub\nset root=hd0"])  # fmt: skip
def test_on_whichever_disk_it_is(tmp_path: Path, expected: list[Answer], found: str, lacking: tuple[str, ...]):
    grub = Grub(tmp_path, without(*lacking), found=found, disk=2)
    assert [grub.ask(question) for question in QUESTIONS] == expected


@pytest.fixture
def old_disk(tmp_path: Path) -> Path:
    """Make a disk of the same layout that was in service once: another script and block, and two whole slots."""
    grub = Grub(tmp_path / "old", "# of a node before this one\n")
    return grub.disk(
        Question(environment_block(boot_alternative="B", boot_cycle="first_boot", mb_nonce="2e"), None, "AB")
    )


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("prefix", ["({})", "({})/", "", "(memdisk)/boot/grub"])
def test_of_an_old_disk_nothing_is_taken(tmp_path: Path, old_disk: Path, prefix: str, number: int):
    """Not even where the node's own disk has no slot that can be loaded, or has lost its block."""
    before = old_disk.read_bytes()
    place = f"hd{number},gpt2"
    found = f"set prefix={prefix.format(place)}\nset root={place}"
    grub = Grub(tmp_path / "grub", SHIPPED, found=found, disk=number, beside=old_disk)
    alone = Grub(tmp_path / "alone", SHIPPED, found=found, disk=number)
    witness = environment_block(mb_trusted="B")
    for block, loadable in product((PENDING, b"x" * 1024, None), ("AB", "A", "")):
        question = Question(block, witness, loadable)
        assert grub.ask(question) == alone.ask(question), question
    assert old_disk.read_bytes() == before


@pytest.mark.parametrize(
    "lacking",
    ["regexp", "echo", "source", "reboot", "exit", "insmod", "keystatus", "unset"],
)
def test_without_a_command_that_it_can_do_without(tmp_path: Path, expected: list[Answer], lacking: str):
    grub = Grub(tmp_path, without(lacking))
    assert [grub.ask(question) for question in QUESTIONS] == expected


@pytest.mark.parametrize("lacking", [("[",), ("load_env", "save_env"), ("save_env",), ("[", "load_env", "save_env")])
def test_without_what_a_trial_needs_none_is_started_and_nothing_is_written(tmp_path: Path, lacking: tuple[str, ...]):
    grub = Grub(tmp_path, without(*lacking))
    for block, loadable in product((PENDING, TRIAL), ("AB", "A")):
        answer = grub.ask(Question(block, None, loadable))
        assert (answer.slot, answer.block) == ("A", block)
        assert "manageboot.try" not in answer.arguments
        assert "manageboot.fault=" in answer.arguments
    for slot in "AB":
        # Who can't read the block can't know more than that slot A was there first.
        trusted = "A" if "load_env" in lacking else slot
        answer = grub.ask(Question(TRUSTED[slot], None, "AB"))
        assert (answer.slot, answer.block) == (trusted, TRUSTED[slot])
    assert grub.ask(Question(TRUSTED["A"], None, "B")).slot == "B"


def test_without_test_the_second_witness_counts_as_ever(tmp_path: Path):
    grub = Grub(tmp_path, without("["))
    for slot in "AB":
        assert grub.ask(Question(b"x" * 1024, environment_block(mb_trusted=slot), "AB")).slot == slot


@pytest.mark.parametrize(
    "found",
    ["unset prefix\nset root=hd0,gpt2", "set prefix=(memdisk)/boot/grub\nset root=hd0,gpt2",
     "set prefix=(hd0,gpt1)/EFI/BOOT\nset root=hd0,gpt1"],
)  # fmt: skip
def test_without_test_the_block_is_read_wherever_grub_was_started_from(tmp_path: Path, found: str):
    grub = Grub(tmp_path, without("["), found=found)
    for slot in "AB":
        assert grub.ask(Question(TRUSTED[slot], None, "AB")).slot == slot
    assert grub.ask(Question(PENDING, None, "AB")).slot == "A"


def test_without_test_each_slot_is_told_what_it_is(tmp_path: Path):
    grub = Grub(tmp_path, without("["))
    for slot in "AB":
        words = grub.ask(Question(TRUSTED[slot], None, "AB")).arguments.split()
        root = {"A": "7c0a626e-e5ea-e543-b5c5-300eb8304db7", "B": "a78bc3a8-376c-054a-96e7-3904b915d0c5"}[slot]
        assert words == [f"root=PARTUUID={root}", "console=ttyS0", f"dfinity.system={slot}",
                         f"manageboot.slot={slot}", "manageboot.cycle=stable"]  # fmt: skip


@pytest.mark.parametrize("lacking", ["linux", "initrd", None], ids=["linux", "initrd", "the kernels"])
@pytest.mark.parametrize("block", [PENDING, TRIAL], ids=["pending", "trial"])
def test_where_nothing_can_be_loaded_nothing_is_written(tmp_path: Path, block: bytes, lacking: str | None):
    grub = Grub(tmp_path, without(lacking, "boot") if lacking else TEXT)
    question = Question(block, None, "AB" if lacking else "")
    if lacking == "initrd":
        # Kernel and initrd are loaded by one module, so GRUB lacks both.
        grub = Grub(tmp_path / "both", without("linux", "initrd", "boot"))
    answer = grub.ask(question)
    assert (answer.slot, answer.block) == (None, block)


def test_whatever_was_set_before(tmp_path: Path, expected: list[Answer]):
    """Every variable of the script, and those that GRUB itself obeys, come from another grub.cfg before it."""
    names = set(re.findall(r"\bset (\w+)=|--set=1:(\w+)", TEXT)) - {("prefix", ""), ("root", "")}
    loaded = set(re.findall(r"\b((?:mb|boot)_\w+)", TEXT)) - {"boot_by_block", "boot_slot", "boot_args"}
    ours = {name for pair in names for name in pair if name} | loaded
    assert {"disk", "fault", "try", "boot_A", "mb_trial", "mb_fallback", "block", "extra_boot_args"} <= ours
    for value in ("1", "B", "hd9", "deadline", "first_boot"):
        before = "\n".join(f"set {name}={value}" for name in sorted(ours))
        grub = Grub(tmp_path / value, SHIPPED, found=f"{FOUND}\n{before}\nset pager=1\nset fallback=0")
        assert [grub.ask(question) for question in QUESTIONS] == expected, value


def test_arguments_that_were_set_before_are_not_passed(tmp_path: Path):
    before = f"{FOUND}\nset extra_boot_args=left\nset EXTRA_BOOT_ARGS=left"
    answer = Grub(tmp_path, SHIPPED, found=before).ask(Question(TRUSTED["A"], None, "AB"))
    assert "left" not in answer.arguments


def test_the_menu_restarts_whatever_was_set_before(tmp_path: Path):
    before = f"{FOUND}\nset default=0\nset timeout=-1\nset timeout_style=hidden\nset fallback=1"
    grub = Grub(tmp_path, SHIPPED, found=before)
    grub.ask(Question(TRUSTED["A"], None, ""))
    assert "MENU manageboot-restart 60 menu <>" in " ".join((tmp_path / "said").read_text(errors="replace").split())
    # Nobody has to log in for that.
    assert re.findall(r'^menuentry "Restart" (\S+)', TEXT, re.MULTILINE) == ["--unrestricted"]


def test_the_menu_restarts_whatever_entries_were_there_before(tmp_path: Path):
    # Without the wait; and grub-emu has nothing to restart.
    grub = Grub(
        tmp_path, TEXT.replace("set timeout=60", "set timeout=0").replace("    reboot\n", "    echo RESTARTS\n")
    )
    others = "\n".join(f"menuentry Other{number} {{ echo OTHER; exit; }}" for number in range(4))
    # In the place of the usual one, which leaves before the menu.
    (tmp_path / "driver" / "grub.cfg").write_text(f"{FOUND}\n{others}\nsource (hd0,gpt2)/grub.cfg\n")
    said = grub.start(grub.disk(Question(TRUSTED["A"], None, "")))
    assert ("RESTARTS" in said, "OTHER" in said) == (True, False)


@pytest.mark.devices
@pytest.mark.parametrize("lacking", [(), ("regexp",), ("[",)], ids=["", "without regexp", "without test"])
@pytest.mark.parametrize("found", [FOUND, "unset prefix\nunset root", "set prefix=/\nset root=hd0,gpt2"])
def test_on_lvm(tmp_path: Path, found: str, lacking: tuple[str, ...]):
    script = tmp_path / "grub.cfg"
    script.write_text(without(*lacking))
    said = Grub(tmp_path / "grub", script, found=found).start(lvm_disk(tmp_path, script, PENDING))
    [booted] = re.findall(r"BOOTS lvm/hostlvm-(\w)_boot", said)
    assert booted == ("A" if lacking == ("[",) else "B")


@pytest.mark.devices
def test_a_volume_group_has_no_block_on_another_disk(tmp_path: Path, old_disk: Path):
    """Where the block of a hostOS is lost, the second one beside it counts, and not what another disk has."""
    script = tmp_path / "grub.cfg"
    script.write_text(TEXT)
    disk = lvm_disk(tmp_path, script, PENDING)
    (tmp_path / "manageboot.env").write_bytes(environment_block(mb_trusted="B"))
    part = f"{disk}@@{GRUB_OFFSET}"
    run("mdel", "-i", part, "::grubenv")
    grub = Grub(tmp_path / "grub", script, beside=old_disk)
    assert re.findall(r"BOOTS (\S+)", grub.start(disk)) == ["lvm/hostlvm-A_boot"]
    run("mcopy", "-i", part, tmp_path / "manageboot.env", "::manageboot.env")
    assert re.findall(r"BOOTS (\S+)", grub.start(disk)) == ["lvm/hostlvm-B_boot"]


def test_a_block_on_the_disk_is_found_there(tmp_path: Path):
    """What GRUB wrote, it wrote into the block that the agent reads."""
    for name, found in STARTS.items():
        grub = Grub(tmp_path / name.replace(" ", "-"), SHIPPED, found=found)
        assert variables(grub.ask(QUESTIONS[0]).block)["boot_cycle"] == "failsafe_check", name
