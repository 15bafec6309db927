"""Where a walk begins: every state that a node can be found in."""

from collections.abc import Iterator
from itertools import product

from protocol.node import GOOD, NEW, VOID, State, other, record_text
from protocol.truth import NOTHING
from support.blocks import GARBAGE, environment_block


def starts(*, shipped: bool, shared: bool) -> Iterator[State]:
    """Every cycle, both slots, an empty, absent and damaged block; with and without a record that the other is good."""
    blank = State(None, None, None, None, (GOOD, VOID), ("", ""), "", "i0")
    for slot, cycle, trusted in product("AB", ("install", "stable", "first_boot", "failsafe_check"), (True, False)):
        on_trial = cycle in {"first_boot", "failsafe_check"}
        # Another agent began that trial, and nothing tells what becomes of it.
        truth = None if on_trial else NOTHING
        state = blank._replace(block=environment_block(boot_alternative=slot, boot_cycle=cycle), truth=truth)
        old = other(slot) if on_trial else slot
        passive = NEW if on_trial else GOOD if trusted else VOID
        state = state.with_content(old, GOOD).with_content(other(old), passive)
        if trusted:
            word = "committed" if on_trial else "confirmed"
            text = record_text(**{old: "confirmed", other(old): word})
            state = state._replace(records=(text if shared or old == "A" else "", text if shared or old == "B" else ""))
        yield state
    for block, witness, rest in product((None, b"", GARBAGE, environment_block(boot_cycle="?")), ("", "A", "B"), "vg"):
        if witness and not shipped:
            # Who never ran the shipped script has no second block.
            continue
        slot = witness or "A"
        state = blank._replace(block=block, witness=environment_block(mb_trusted=slot) if witness else None)
        yield state.with_content(slot, GOOD).with_content(other(slot), GOOD if rest == "g" else VOID)
