"""When the daemon takes the local file systems for there, by what systemd says of them."""

import pytest

from manageboot.daemon import localfs
from manageboot.daemon.children import Outcome
from manageboot.daemon.steps import Command, Pause

WAITING = "ActiveState=inactive\nJob=17"
THERE = "ActiveState=active\nJob="
GIVEN_UP = "ActiveState=inactive\nJob="
FAILED = "ActiveState=failed\nJob="


@pytest.mark.parametrize(
    ("units", "settled"),
    [
        ((THERE, THERE), True),
        ((THERE, FAILED), True),
        # A target that failed by one of its mounts is inactive.
        ((GIVEN_UP, THERE), True),
        ((WAITING, WAITING), False),
        ((THERE, WAITING), False),
        ((WAITING, GIVEN_UP), False),
        # One that runs already and is started anew is there.
        (("ActiveState=active\nJob=17", THERE), True),
        ((THERE,), False),
        (("Failed to connect to bus", THERE), False),
        (("", ""), False),
    ],
)
def test_what_systemd_says(units: tuple[str, ...], settled: bool):
    assert localfs.are_settled(Outcome(0, "\n\n".join(units))) is settled


def test_without_systemd_nobody_is_waited_for():
    assert localfs.are_settled(Outcome(127, said="cannot start systemctl: it is not there"))
    # Here it is there, and could not be asked.
    assert not localfs.are_settled(Outcome(126, said="cannot start systemctl: Too many open files"))


def test_it_asks_on_for_as_long_as_it_takes_but_slowly():
    steps = localfs.steps()
    pauses, question = [], next(steps)
    while sum(pauses) < 10_000:
        pause = steps.send(Outcome(0, f"{THERE}\n\n{WAITING}"))
        assert isinstance(pause, Pause)
        pauses.append(pause.seconds)
        assert steps.send(None) == question
    assert sum(pause for pause in pauses if pause < 10) == localfs.ASSUMED_AFTER_S
    assert len(pauses) < 300


def test_it_asks_until_they_are_there():
    steps = localfs.steps()
    question = next(steps)
    assert isinstance(question, Command)
    assert question.argv[-2:] == localfs.UNITS
    waiting = Outcome(0, f"{THERE}\n\n{WAITING}")
    for answer in (None, Outcome(1, "Failed to get properties"), Outcome(None, ""), waiting):
        assert isinstance(steps.send(answer), Pause)
        assert steps.send(None) == question
    with pytest.raises(StopIteration):
        steps.send(Outcome(0, f"{THERE}\n\n{THERE}"))
