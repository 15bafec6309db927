"""What the shipped script does beyond IC-OS's state machine, each thing once, in GRUB's own interpreter."""

import re
from pathlib import Path

import pytest

from manageboot.bootloader import modules
from manageboot.protocol import MAX_TRIES
from protocol.lvmdisk import lvm_disk
from support import judges
from support.blocks import GARBAGE, environment_block, variables
from support.grubemu import SHIPPED, Answer, Grub, Question, kernel_line

pytestmark = pytest.mark.grub

ARMED = {"boot_alternative": "B", "boot_cycle": "first_boot"}


@pytest.fixture(scope="module")
def grub(each_grub: str, tmp_path_factory: pytest.TempPathFactory) -> Grub:
    return Grub(tmp_path_factory.mktemp("grub"), SHIPPED)


def words(answer: Answer) -> dict[str, str]:
    """The words of manageboot on the kernel command line, and panic."""
    pairs = (word.partition("=")[::2] for word in answer.arguments.split())
    return {name.removeprefix("manageboot."): value for name, value in pairs if name[:6] in {"manage", "panic"}}


@pytest.mark.parametrize("tries", range(1, MAX_TRIES + 1))
def test_a_trial_has_as_many_boots_as_it_is_given(grub: Grub, tries: int):
    block = environment_block(**ARMED, mb_nonce="1f", **({"mb_tries": str(tries)} if tries > 1 else {}))
    for number in range(1, tries + 1):
        answer = grub.ask(Question(block, None, "AB"))
        cycle = "first_boot" if number == 1 else "failsafe_check"
        told = {"slot": "B", "cycle": cycle, "try": str(number), "nonce": "1f", "panic": "10"}
        assert (answer.slot, words(answer)) == ("B", told)
        assert answer.block is not None
        block = answer.block
        assert (variables(block)["mb_ack"], variables(block)["mb_tried"]) == ("1f", str(number))
    answer = grub.ask(Question(block, None, "AB"))
    assert (answer.slot, words(answer)) == ("A", {"slot": "A", "cycle": "failsafe_check"})
    after = variables(answer.block)
    assert (after["boot_alternative"], after["boot_cycle"], after["mb_fallback"]) == ("A", "stable", "unconfirmed")
    assert "mb_tries" not in after


@pytest.mark.parametrize("tries", ["0", "6", "23", "x", "-1"])
def test_a_number_of_tries_that_makes_no_sense_is_one(grub: Grub, tries: str):
    block = environment_block(**ARMED, mb_nonce="1f", mb_tries=tries)
    first = grub.ask(Question(block, None, "AB"))
    assert [first.slot, grub.ask(Question(first.block, None, "AB")).slot] == ["B", "A"]


def test_a_commit_by_a_stock_agent_has_one_try_whatever_an_earlier_one_left(grub: Grub):
    block = environment_block(**ARMED, mb_nonce="1f", mb_ack="1f", mb_tries="3", mb_tried="1")
    first = grub.ask(Question(block, None, "AB"))
    assert variables(first.block) == {"boot_alternative": "B", "boot_cycle": "failsafe_check", "mb_ack": "1f"}
    assert [first.slot, grub.ask(Question(first.block, None, "AB")).slot] == ["B", "A"]


@pytest.mark.parametrize("more", [{}, {"mb_nonce": "1f", "mb_tries": "3"}])
def test_a_trial_that_cannot_be_loaded_says_so(grub: Grub, more: dict[str, str]):
    answer = grub.ask(Question(environment_block(**ARMED, **more), None, "A"))
    assert (answer.slot, words(answer)) == ("A", {"slot": "A", "cycle": "first_boot", "fault": "unloadable"})
    after = variables(answer.block)
    assert (after["boot_alternative"], after["boot_cycle"]) == ("A", "stable")
    assert after.get("mb_fallback") == ("unloadable" if more else None)


@pytest.mark.parametrize("cycle", ["first_boot", "failsafe_check"])
def test_a_try_that_cannot_be_written_down_is_not_started(grub: Grub, cycle: str):
    ours = {"mb_nonce": "1f", "mb_tries": "3", **({"mb_ack": "1f", "mb_tried": "1"} if cycle[0:2] == "fa" else {})}
    block = environment_block(boot_alternative="B", boot_cycle=cycle, **ours)
    answer = grub.ask(Question(block, None, "AB", writable=False))
    told = {"slot": "A", "cycle": cycle, "nonce": "1f", "fault": "unwritable"}
    assert (answer.slot, words(answer)) == ("A", told)


def test_what_the_trial_wrote_survives_the_fallback_and_not_the_next_try(grub: Grub):
    started = {"boot_alternative": "B", "boot_cycle": "failsafe_check", "mb_nonce": "1f", "mb_ack": "1f"}
    block = environment_block(**started, mb_tries="2", mb_tried="1", mb_trial="userspace")
    assert "mb_trial" not in variables(grub.ask(Question(block, None, "AB")).block)
    block = environment_block(**started, mb_tries="2", mb_tried="2", mb_trial="userspace")
    assert variables(grub.ask(Question(block, None, "AB")).block)["mb_trial"] == "userspace"


@pytest.mark.parametrize("witness", ["A", "B", "C", None])
@pytest.mark.parametrize("block", [None, b"", GARBAGE, b"", environment_block(boot_cycle="?"),
                                   environment_block(boot_alternative="C", boot_cycle="stable")])  # fmt: skip
def test_the_second_witness_counts_where_the_block_says_nothing(grub: Grub, block: bytes | None, witness: str | None):
    second = None if witness is None else environment_block(mb_trusted=witness)
    answer = grub.ask(Question(block, second, "AB"))
    assert answer.slot == {"B": "B"}.get(str(witness), "A")
    assert words(answer).get("fault") == ("damaged" if block else None)
    assert answer.block == block


def test_a_damaged_second_witness_is_none(grub: Grub):
    assert grub.ask(Question(GARBAGE, GARBAGE, "AB")).slot == "A"


def test_the_second_witness_does_not_count_where_the_block_speaks(grub: Grub):
    block = environment_block(boot_alternative="A", boot_cycle="stable")
    assert grub.ask(Question(block, environment_block(mb_trusted="B"), "AB")).slot == "A"


def test_the_other_slot_stands_in_for_a_trusted_one_that_cannot_be_loaded(grub: Grub):
    block = environment_block(boot_alternative="A", boot_cycle="stable")
    answer = grub.ask(Question(block, None, "B"))
    assert (answer.slot, answer.block, words(answer)["fault"]) == ("B", block, "unloadable")
    assert grub.ask(Question(block, None, "")).slot is None


def test_only_a_trial_reboots_when_it_panics(grub: Grub):
    answer = grub.ask(Question(environment_block(boot_alternative="A", boot_cycle="stable"), None, "AB"))
    assert "panic" not in answer.arguments


def test_it_uses_no_command_that_an_old_grub_lacks():
    """Each command of the script is one of GRUB 2.04, or a function of its own."""
    known = {"set", "unset", "if", "elif", "else", "fi", "function", "load_env", "save_env", "regexp", "echo", "linux",
             "initrd", "boot", "source", "return", "insmod", "keystatus", "menuentry", "reboot", "}",
             "for", "done", "exit"}  # fmt: skip
    lines = [line.split() for line in SHIPPED.read_text().splitlines()]
    own = {words[1] for words in lines if words[:1] == ["function"]}
    own |= {"plain_order_$boot_alternative", "plain_order_$mb_trusted", "plain_cycle_$boot_cycle", "plain_slot_$first",
            "plain_slot_$second", "plain_arguments_$1"}  # fmt: skip
    used = {words[0].rstrip(";") for words in lines if words and not words[0].startswith("#")}
    tested = {words[1] for words in lines if words[:1] in (["if"], ["elif"])}
    assert used <= known | own
    assert tested <= {"[", "linux", "initrd", "load_env", "insmod", "keystatus"}


@pytest.mark.parametrize("platform", ["x86_64-efi", "i386-pc"])
def test_each_command_is_there_on_uefi_and_bios(each_grub: str, platform: str):
    """GRUB's own lists tell which module has a command, and the script and `modules` name the same."""
    directory = judges.modules_of(each_grub, platform)
    listed = dict(line.lstrip("*").split(": ") for line in (directory / "command.lst").read_text().splitlines())
    text = SHIPPED.read_text().replace("\n# ", " ")
    needed, used = re.findall(r"needs these modules: ([\w, ]+); it uses, where there are any: ([\w, ]+)\.", text)[0]
    assert (needed.split(", "), used.split(", ")) == (list(modules.NEEDED), list(modules.USED))
    for command, module in {"load_env": "loadenv", "save_env": "loadenv", "regexp": "regexp", "[": "test",
                            "echo": "echo", "linux": "linux", "initrd": "linux", "boot": "boot", "exit": "minicmd",
                            "source": "configfile", "keystatus": "keystatus", "reboot": "reboot"}.items():  # fmt: skip
        assert (listed[command], module in modules.NEEDED + modules.USED) == (module, True), command
    for module in modules.NEEDED + modules.USED:
        assert (directory / f"{module}.mod").exists(), module


@pytest.mark.devices
def test_on_lvm_the_slots_are_logical_volumes(grub: Grub, tmp_path: Path):
    disk = lvm_disk(tmp_path, SHIPPED, environment_block(**ARMED, mb_nonce="1f"))
    booted = []
    for _ in range(3):
        kernel, *arguments = kernel_line(grub.start(disk))
        slot = arguments[0].removeprefix("root=/dev/hostlvm/")[0]
        assert kernel == f"(lvm/hostlvm-{slot}_boot)/vmlinuz"
        assert arguments[:3] == [f"root=/dev/hostlvm/{slot}_root", "console=ttyS0", f"dfinity.system={slot}"]
        booted.append(slot)
    assert booted == ["B", "A", "A"]
