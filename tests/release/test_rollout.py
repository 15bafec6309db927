"""Rollouts: whom they are for, at which time, and what is refused of them."""

from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from manageboot.release import rollout
from manageboot.release.rollout import WHOLE, Rollout

NODES = [UUID(int=number).hex for number in range(10_000)]
SHA256 = "ab" * 32
BEGINS, ENDS = 1_800_000_000, 1_800_172_800


def who_is_in(basis_points: int, sha256: str = SHA256) -> set[str]:
    return {node for node in NODES if rollout.place(node, sha256) < Rollout(basis_points).share(0)}


def test_a_share_of_the_places_is_about_that_share_of_the_nodes():
    counts = [len(who_is_in(points)) for points in (0, 100, 1000, 2500, 5000, 9000, WHOLE)]
    assert counts == [0, 90, 987, 2464, 4904, 8970, 10_000]
    tenths = Counter(rollout.place(node, SHA256) // 1000 for node in NODES)
    assert sorted(tenths) == list(range(10))
    assert max(abs(count - 1000) for count in tenths.values()) <= 60


def test_who_is_in_stays_in_as_the_share_grows():
    shares = [who_is_in(points) for points in range(0, WHOLE + 1, 500)]
    assert all(fewer < more for fewer, more in pairwise(shares))


def test_another_release_begins_with_other_nodes():
    first, second = who_is_in(1000), who_is_in(1000, "cd" * 32)
    assert len(first & second) == 94  # as chance has it: a tenth of a tenth


def test_a_place_is_the_one_of_the_document():
    # printf %s abab… | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef: b9e3febe7ff3ce56…
    assert rollout.place("0123456789abcdef" * 2, SHA256) == 0xB9E3FEBE7FF3CE56 % 10_000


@pytest.mark.parametrize(
    ("staged", "at", "share"),
    [
        (Rollout(1000), 0, 1000),
        (Rollout(0), ENDS, 0),
        (Rollout(1000, BEGINS), BEGINS - 1, 0),
        (Rollout(1000, BEGINS), BEGINS, 1000),
        (Rollout(1000, BEGINS, ENDS), BEGINS - 1, 0),
        (Rollout(1000, BEGINS, ENDS), BEGINS, 0),
        (Rollout(1000, BEGINS, ENDS), (BEGINS + ENDS) // 2, 500),
        (Rollout(1000, BEGINS, ENDS), ENDS - 1, 999),
        (Rollout(1000, BEGINS, ENDS), ENDS, 1000),
        (Rollout(WHOLE, BEGINS, ENDS), ENDS + 10**9, WHOLE),
    ],
)
def test_the_share_at_a_time(staged: Rollout, at: int, share: int):
    assert staged.share(at) == share


def test_a_share_never_falls_as_time_goes_on():
    staged = Rollout(3333, BEGINS, ENDS)
    shares = [staged.share(at) for at in range(BEGINS - 1000, ENDS + 1000, 500)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 3333)


@pytest.mark.parametrize("staged", [Rollout(0), Rollout(250, BEGINS), Rollout(WHOLE, BEGINS, ENDS)])
def test_what_is_signed_is_read_again(staged: Rollout):
    assert rollout.parse({"index": 1, rollout.KEY: staged.to_json()}) == staged


@pytest.mark.parametrize("custom", [None, {}, {"index": 1}, [], 7])
def test_without_one_it_is_for_all(custom: object):
    assert rollout.parse(custom) is None


@pytest.mark.parametrize(
    "values",
    [
        None, [], "10", {}, {"basis_points": True}, {"basis_points": 10_001}, {"basis_points": -1},
        {"basis_points": 1.5}, {"basis_points": "10"}, {"basis_points": 10, "regions": ["eu"]},
        {"basis_points": 10, "from": 20_261_127}, {"basis_points": 10, "from": "tomorrow"},
        {"basis_points": 10, "from": "2026-12-01T06:00"}, {"basis_points": 10, "until": "2026-12-01T06:00Z"},
        {"basis_points": 10, "from": "2026-12-01T06:00Z", "until": "2026-12-01T06:00Z"},
        # In UTC there is no such year.
        {"basis_points": 10, "from": "0001-01-01T00:00+01:00"},
        {"basis_points": 10, "from": "2026-12-01T06:00Z", "until": "9999-12-31T23:30-01:00"},
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_refused(values: object):
    with pytest.raises(ValueError):
        rollout.parse({rollout.KEY: values})


def test_it_is_told_in_words():
    assert str(Rollout(250)) == "2.5 % of the nodes"
    assert str(Rollout(1000, BEGINS)) == "10 % of the nodes from 2027-01-15T08:00:00Z on"
    growing = "10 % of the nodes from 2027-01-15T08:00:00Z on, growing until 2027-01-17T08:00:00Z"
    assert str(Rollout(1000, BEGINS, ENDS)) == growing
