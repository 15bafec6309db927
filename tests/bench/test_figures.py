"""The arithmetic of the benchmark: who is compared with whom, and what a machine that changes its speed does to it."""

import pytest

from bench.figures import Ratio, summarize, table
from bench.measure import Result
from bench.rounds import Run

FLOOR, OURS, OTHER = "floor", "ours", "other"


def a_run(number: int, name: str, wall_s: float, *, identical: bool = True) -> Run:
    return Run(number, name, Result(wall_s, wall_s / 2, 10 * wall_s, 100, 0), identical)


def rounds(*walls: tuple[float, float, float]) -> list[Run]:
    """The runs of rounds; each is given as the times of floor, ours and other."""
    return [
        a_run(number, name, wall)
        for number, times in enumerate(walls, 1)
        for name, wall in zip((FLOOR, OURS, OTHER), times, strict=True)
    ]


def test_ratios_are_taken_within_a_round():
    _, ours, other = summarize(rounds((1, 2, 12), (2, 6, 18), (4, 4, 20)), FLOOR, OURS)
    assert ours.of_floor == Ratio(2, 1, 3)
    assert ours.of_ours == Ratio(1, 1, 1)
    assert other.of_floor == Ratio(9, 5, 12)
    assert other.of_ours == Ratio(5, 3, 6)


def test_a_machine_that_doubles_its_speed_changes_no_ratio():
    """In the old order, all runs of one after all of another, the same program was 1.10 and 2.2 times the floor."""
    slow, fast = (2.0, 2.2, 14.0), (1.0, 1.1, 7.0)
    _, ours, other = summarize(rounds(slow, slow, fast, fast), FLOOR, OURS)
    assert ours.of_floor == pytest.approx((1.1, 1.1, 1.1))
    assert other.of_floor == pytest.approx((7, 7, 7))
    assert ours.medians.wall_s == pytest.approx(1.65)


def test_the_median_of_an_even_number_of_rounds_lies_between_the_two_in_the_middle():
    _, ours, _ = summarize(rounds((1, 1, 1), (1, 2, 1), (1, 4, 1), (1, 9, 1)), FLOOR, OURS)
    assert ours.of_floor == Ratio(3, 1, 9)


def test_a_round_that_is_not_complete_counts_for_those_who_had_their_turn():
    runs = [*rounds((1, 2, 6)), a_run(2, FLOOR, 1), a_run(2, OURS, 4)]
    _, ours, other = summarize(runs, FLOOR, OURS)
    assert ours.of_floor == Ratio(3, 2, 4)
    assert other.of_ours == Ratio(3, 3, 3)


def test_without_ours_there_is_nothing_to_compare_with():
    [floor] = summarize([a_run(1, FLOOR, 1)], FLOOR, OURS)
    assert floor.of_ours is None
    assert floor.as_json()["of_ours"] is None


def test_all_else_is_the_median_of_all_rounds():
    floor, *_ = summarize(rounds((1, 1, 1), (5, 1, 1), (2, 1, 1)), FLOOR, OURS)
    assert floor.medians == Result(2, 1, 20, 100, 0)


def test_one_round_with_old_data_in_the_holes_is_told():
    runs = [a_run(1, OTHER, 1), a_run(2, OTHER, 1, identical=False)]
    [other] = summarize(runs, FLOOR, OURS)
    assert not other.identical
    assert "| other (old data in the holes) |" in table([other], FLOOR, OURS)


def test_the_table_has_median_minimum_and_maximum():
    text = table(summarize(rounds((1, 2, 12), (2, 6, 18), (4, 4, 20)), FLOOR, OURS), FLOOR, OURS)
    head, line, *_, other = text.splitlines()
    assert head.endswith("| of `floor` | of ours | its CPU |")
    assert line.count("|") == head.count("|")
    assert (
        other
        == "| other | 18.00 | 9.00 | 180 | 100 | 0 | 9.00 (5.00 to 12.00) | 5.00 (3.00 to 6.00) | 5.00 (3.00 to 6.00) |"
    )
