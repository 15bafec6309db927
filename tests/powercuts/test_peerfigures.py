"""How the figures of the comparison are counted."""

from powercuts.campaign import Result, Violation
from powercuts.peerfigures import POWER_CUT, RESET, counts, table, windows
from powercuts.peerjudge import NO_WAY_BACK, NOT_WHOLE


def result(*violations: tuple[str, str, str]) -> Result:
    """What was found in a recording: the labels of cuts, their steps, and what is wrong there."""
    found = [Violation("one", cut, step, [wrong], []) for cut, step, wrong in violations]
    return Result("one", "One", "bookworm", 1200, 30, 4321, {}, {}, found, [], [], True)


FOUND = result(
    ("7:reset:all", "install", f"{NOT_WHOLE}: slot A"),
    ("7:lost:1", "install", f"{NOT_WHOLE}: slot A"),
    ("8:torn:0-1:0-1", "install", f"{NOT_WHOLE}: slot A"),
    ("12:told:all", "commit", f"{NOT_WHOLE}: slot A"),
    ("9:lost:none", "install", f"{NO_WAY_BACK}: nothing does"),
)


def test_what_only_a_power_cut_leaves_is_told_apart():
    assert counts(FOUND) == {(NOT_WHOLE, RESET): 2, (NOT_WHOLE, POWER_CUT): 2, (NO_WAY_BACK, POWER_CUT): 1}


def test_each_step_has_a_window():
    assert windows(FOUND, NOT_WHOLE, RESET) == [("install", 7, 7, 1), ("commit", 12, 12, 1)]
    assert windows(FOUND, NOT_WHOLE, RESET, POWER_CUT) == [("install", 7, 8, 2), ("commit", 12, 12, 1)]
    assert windows(FOUND, NO_WAY_BACK, RESET) == []


def test_the_table_has_a_row_for_each_promise_that_is_broken():
    _, _, *rows = table([FOUND, result()]).splitlines()
    assert rows == [
        f"| One | 1,200 | 4,321 | {NOT_WHOLE} | 2 | 2 | install: 2 from 7 to 8; commit: 1 from 12 to 12 |",
        f"| One | 1,200 | 4,321 | {NO_WAY_BACK} | 0 | 1 | install: 1 from 9 to 9 |",
        "| One | 1,200 | 4,321 | none | 0 | 0 | |",
    ]
    assert table([]) == ""
