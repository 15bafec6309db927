"""The sample of states that are booted for real, and what of a system that came up is not as it has to be."""

import json
import random

import pytest

from powercuts.cuts import Cut
from powercuts.judge import Verdict
from powercuts.realboots import Sound, chosen, unlike

STATES = [
    Sound(Cut(10 * number + place, "reset"), step)
    for number, step in enumerate(("install", "commit", "trial"))
    for place in range(5)
]


def test_the_sample_is_spread_over_the_steps_and_comes_in_the_order_of_the_recording():
    for count in (0, 1, 3, 6):
        found = chosen(STATES, count, random.Random(1))
        assert len(found) == count
        assert found == sorted(found, key=lambda state: state.cut.position)
        assert len({state.step for state in found}) == min(count, 3)
    assert chosen(STATES, 5, random.Random(1)) == chosen(STATES, 5, random.Random(1))
    assert len({tuple(chosen(STATES, 2, random.Random(seed))) for seed in range(9)}) > 1
    assert sorted(chosen(STATES, 99, random.Random(1))) == sorted(STATES)


def answers(**others: str) -> dict[str, str]:
    """What a healthy node says, slot B booted, to the word that its question has."""
    status = {"booted": "B", "state": others.pop("state", "idle")}
    return {"failed": "", "broken": "", "version": "v2", "history": "fallback", "status": json.dumps(status)} | others


@pytest.mark.parametrize(
    ("said", "is_trial", "wrong"),
    [
        (answers(), False, []),
        (answers(state="pending"), False, []),
        (answers(state="trial"), True, []),
        (answers(history="confirmed"), True, []),
        (answers(failed="guestos.service", broken="guestos.service"), False, []),
        (answers(state="trial"), False, ["status says trial, and GRUB has to start no trial"]),
        (answers(), True, ["status says idle, and GRUB has to start a trial"]),
        (answers(failed="var.mount"), False, ["units have failed: var.mount, and not none"]),
        (answers(broken="guestos.service"), False, ["units have failed: none, and not guestos.service"]),
        (answers(version="v1"), False, ["the system is v1, and slot B holds v2"]),
        (answers(status='{"booted": "A", "state": "idle"}'), False,
         ["status says that slot A is booted, and slot B has to be"]),
    ],
)  # fmt: skip
def test_what_is_not_as_it_has_to_be_is_told(said: dict[str, str], is_trial: bool, wrong: list[str]):
    def ask(line: str) -> str:
        [answer] = [answer for word, answer in said.items() if word in line]
        return answer

    assert list(unlike(ask, Verdict("B", is_trial, ()), {"v2"})) == wrong
