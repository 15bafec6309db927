"""Patience, as a function of time and chance: who is asked next, and when."""

from random import Random

import pytest

from manageboot.fetch.mirrors import Mirror, Mirrors, Trouble
from manageboot.fetch.outcome import Outcome

FIRST, SECOND = "http://a.example/", "http://b.example/"
NOBODY: frozenset[Mirror] = frozenset()


def made(*bases: str, seed: int = 1) -> Mirrors:
    return Mirrors(bases or (FIRST, SECOND), 1, Random(seed))


def fail(mirrors: Mirrors, mirror: Mirror, outcome: Outcome, now_s: float = 0, **rest: int) -> None:
    mirrors.failed(mirror, Trouble(mirror.base, "file", outcome, "as it is"), now_s=now_s, **rest)


def chosen(mirrors: Mirrors, now_s: float = 0, ended: frozenset[Mirror] = NOBODY) -> str | None:
    mirror = mirrors.choose(ended, now_s)
    return None if mirror is None else mirror.base


def test_the_first_is_asked_first():
    assert chosen(made()) == FIRST


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - {Outcome.DONE, Outcome.GONE, Outcome.REFUSED}))
def test_one_that_failed_is_not_asked_while_another_is_ready(outcome: Outcome):
    mirrors = made()
    fail(mirrors, mirrors.all[0], outcome)
    assert chosen(mirrors) == SECOND
    # Not even later, as it would fail again.
    assert chosen(mirrors, 1e6) == SECOND


def test_one_that_lied_is_never_asked_again():
    mirrors = made(FIRST)
    fail(mirrors, mirrors.all[0], Outcome.LIED)
    assert chosen(mirrors, 1e9) is None


@pytest.mark.parametrize("outcome", [Outcome.GONE, Outcome.REFUSED])
def test_one_without_a_file_is_as_good_as_before_for_others(outcome: Outcome):
    mirrors = made()
    fail(mirrors, mirrors.all[0], outcome)
    assert chosen(mirrors) == FIRST
    assert chosen(mirrors, ended=frozenset({mirrors.all[0]})) == SECOND


def test_one_that_delivers_is_as_good_as_new():
    mirrors = made()
    fail(mirrors, mirrors.all[0], Outcome.STALLED)
    fail(mirrors, mirrors.all[1], Outcome.STALLED, 10)
    mirrors.delivered(mirrors.all[1])
    assert chosen(mirrors, 10) == SECOND


def test_when_all_fail_the_one_that_is_ready_first_is_waited_for():
    mirrors = made()
    fail(mirrors, mirrors.all[0], Outcome.BUSY, retry_after_s=100)
    fail(mirrors, mirrors.all[1], Outcome.BUSY, retry_after_s=50)
    assert chosen(mirrors) == SECOND
    assert mirrors.all[1].ready_s == 50


def test_a_connection_that_broke_after_it_brought_something_is_made_again_at_once():
    mirrors = made()
    fail(mirrors, mirrors.all[0], Outcome.BROKEN, brought=1_000_000)
    assert (chosen(mirrors), mirrors.all[0].ready_s) == (FIRST, 0)


def test_one_that_brings_a_few_bytes_at_a_time_is_not_asked_without_a_pause():
    mirrors = made(FIRST)
    fail(mirrors, mirrors.all[0], Outcome.BROKEN, brought=1)
    assert mirrors.all[0].ready_s > 0


def test_the_pauses_grow_and_end_growing():
    mirrors = made(FIRST)
    pauses = []
    for _ in range(2000):
        fail(mirrors, mirrors.all[0], Outcome.NO_ROUTE)
        pauses.append(mirrors.all[0].ready_s)
    for number, pause in enumerate(pauses):
        longest = min(300, 2 ** min(number, 30))
        assert longest / 2 <= pause <= longest


def test_no_two_nodes_wait_as_long():
    pauses = set()
    for seed in range(20):
        mirrors = made(FIRST, seed=seed)
        fail(mirrors, mirrors.all[0], Outcome.NO_ROUTE)
        pauses.add(mirrors.all[0].ready_s)
    assert len(pauses) == 20
