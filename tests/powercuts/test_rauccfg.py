"""GRUB's part in RAUC, as the comparison has it: what RAUC documents of ORDER, OK and TRY, asked of GRUB itself."""

import pytest

from powercuts.raucnode import SCRIPT
from support.blocks import environment_block, variables
from support.grubemu import Grub, Question

pytestmark = [pytest.mark.grub, pytest.mark.usefixtures("each_grub")]

# ORDER, A_OK, A_TRY, B_OK, B_TRY; the slot that starts, and A_TRY and B_TRY afterwards.
STARTS = {
    "the first of the order": ("A B 1 0 1 0", "A 1 0"),
    "the other order": ("B A 1 0 1 0", "B 0 1"),
    "a bad slot is passed over": ("B A 1 0 0 0", "A 1 0"),
    "a slot that was tried is passed over": ("B A 1 0 1 1", "A 1 1"),
    "nothing is left to try: all good ones may once more": ("A B 1 1 1 1", "A 1 0"),
    "nothing is left to try, and only one is good": ("A B 0 1 1 1", "B 0 1"),
    "none is good": ("B A 0 0 0 0", "A 0 0"),
}


@pytest.fixture(scope="module")
def grub(each_grub: str, tmp_path_factory: pytest.TempPathFactory) -> Grub:
    return Grub(tmp_path_factory.mktemp("grub"), SCRIPT)


@pytest.mark.parametrize("name", STARTS)
def test_order_ok_and_try_decide(grub: Grub, name: str):
    before, after = STARTS[name]
    *order, a_ok, a_try, b_ok, b_try = before.split()
    block = environment_block(ORDER=" ".join(order), A_OK=a_ok, A_TRY=a_try, B_OK=b_ok, B_TRY=b_try)
    answer = grub.ask(Question(block, None, "AB"))
    left = variables(answer.block)
    assert (answer.slot, left["A_TRY"], left["B_TRY"]) == tuple(after.split())
    assert left["ORDER"] == " ".join(order)


@pytest.mark.parametrize("block", [b"", None, bytes(1024)], ids=["empty", "absent", "zeros"])
def test_slot_a_starts_where_nothing_is_known(grub: Grub, block: bytes | None):
    assert grub.ask(Question(block, None, "AB")) == ("A", "rauc.slot=A", block)
