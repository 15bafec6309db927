"""The decision, walked over all that can be seen, and all that may be allowed."""

from itertools import product

import pytest

from manageboot.protocol import Phase
from manageboot.unattended.decision import (
    Hindrance,
    Observation,
    Offered,
    Passive,
    Policy,
    Result,
    Step,
    Window,
    decide,
)

EVERYTHING = [
    Observation(*seen)
    for seen in product([None, *Phase], [None, *Hindrance], [None, *Offered], list(Passive), list(Window))
]
ENDS_OTHERWISE = {Result.COMMITTED, Result.BUSY, Result.FAILED}
"""What a run tells of itself; no decision."""


def quiet(seen: Observation) -> bool:
    """Whether neither the node nor a person is in the middle of something."""
    return seen.phase is Phase.IDLE and seen.hindrance is None


def test_a_commit_needs_all_of_this_and_nothing_else():
    for policy, seen in product(Policy, EVERYTHING):
        may = (
            policy is Policy.COMMIT
            and quiet(seen)
            and seen.offered is Offered.RELEASE
            and seen.passive is Passive.READY
            and seen.window is Window.OPEN
        )
        assert (decide(policy, seen) is Step.COMMIT) == may, (policy, seen)


def test_an_installation_needs_all_of_this_and_nothing_else():
    for policy, seen in product(Policy, EVERYTHING):
        may = (
            policy is not Policy.CHECK
            and quiet(seen)
            and seen.offered is Offered.RELEASE
            and seen.passive is Passive.FREE
        )
        assert (decide(policy, seen) is Step.INSTALL) == may, (policy, seen)


def test_it_looks_once_and_only_where_it_may_act():
    for policy, seen in product(Policy, EVERYTHING):
        assert (decide(policy, seen) is Step.LOOK) == (quiet(seen) and seen.offered is None), (policy, seen)


def test_everything_else_ends_the_run_and_each_end_is_reached():
    ends = {decide(policy, seen) for policy, seen in product(Policy, EVERYTHING)} - set(Step)
    assert ends == set(Result) - ENDS_OTHERWISE


def test_what_a_person_has_begun_is_left_alone_whatever_the_policy():
    for policy, seen in product(Policy, EVERYTHING):
        if seen.passive is Passive.BY_HAND or not quiet(seen):
            assert decide(policy, seen) not in {Step.INSTALL, Step.COMMIT}, (policy, seen)


def test_a_policy_that_allows_more_stops_at_no_earlier_point():
    reach = {Step.LOOK: 1, Step.INSTALL: 2, Step.COMMIT: 3}
    for seen in EVERYTHING:
        reached = [reach.get(decide(policy, seen), 0) for policy in Policy]
        assert reached == sorted(reached), seen


FOUND = Observation(Phase.IDLE, None, Offered.RELEASE)
INSTALLED = FOUND._replace(passive=Passive.READY)


@pytest.mark.parametrize(
    ("policy", "seen", "ends"),
    [
        (Policy.COMMIT, Observation(None), Result.UNREADABLE),
        (Policy.COMMIT, Observation(Phase.TRIAL), Result.TRIAL),
        (Policy.COMMIT, Observation(Phase.PENDING), Result.PENDING),
        (Policy.COMMIT, Observation(Phase.CONFLICT), Result.CONFLICT),
        (Policy.COMMIT, Observation(Phase.TRIAL, Hindrance.BORROWED), Result.BORROWED),
        (Policy.COMMIT, Observation(Phase.IDLE, Hindrance.HELD), Result.HELD),
        (Policy.COMMIT, Observation(Phase.IDLE, Hindrance.SHUTDOWN), Result.SHUTDOWN),
        (Policy.COMMIT, FOUND._replace(offered=Offered.NOTHING), Result.UP_TO_DATE),
        # What was installed before it was paused, withdrawn or set aside is not committed.
        (Policy.COMMIT, INSTALLED._replace(offered=Offered.STAGED, window=Window.OPEN), Result.STAGED),
        (Policy.COMMIT, INSTALLED._replace(offered=Offered.SET_ASIDE, window=Window.OPEN), Result.SET_ASIDE),
        (Policy.COMMIT, INSTALLED._replace(offered=Offered.UNFIT, window=Window.OPEN), Result.UNFIT),
        (Policy.COMMIT, FOUND._replace(passive=Passive.BY_HAND, window=Window.OPEN), Result.BY_HAND),
        (Policy.COMMIT, INSTALLED._replace(window=Window.CLOSED), Result.WAITING),
        (Policy.COMMIT, INSTALLED._replace(window=Window.NONE), Result.NO_WINDOW),
        (Policy.COMMIT, INSTALLED._replace(window=Window.CLOCK_BEHIND), Result.CLOCK_BEHIND),
        (Policy.INSTALL, INSTALLED._replace(window=Window.OPEN), Result.INSTALLED),
        (Policy.CHECK, INSTALLED, Result.INSTALLED),
        (Policy.CHECK, FOUND, Result.AVAILABLE),
    ],
)
def test_how_a_run_ends(policy: Policy, seen: Observation, ends: Result):
    assert decide(policy, seen) is ends
