"""Which states a power cut may leave, and the words that name them."""

import random

import pytest

from powercuts.cuts import ALL_SUBSETS, Cut, losses, parse, subsets


@pytest.mark.parametrize(
    "cut",
    [
        Cut(3, "reset"),
        Cut(12, "lost", ()),
        Cut(12, "lost", (0, 1, 2, 5)),
        Cut(7, "torn", (0,), (1, 8)),
        Cut(0, "told", (4,)),
    ],
)
def test_a_cut_is_named_by_a_word(cut: Cut):
    assert parse(cut.label) == cut


@pytest.mark.parametrize("label", ["", "x:reset:all", "1:reset", "1:lost:a", "1:torn:0:3"])
def test_another_word_names_none(label: str):
    with pytest.raises(ValueError, match=r".*"):
        parse(label)


def test_of_few_writes_each_subset_is_tried():
    found = list(subsets(3, random.Random(1), 4, near=False))
    assert sorted(found) == sorted([(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
    assert list(subsets(0, random.Random(1), 4, near=False)) == []


def test_of_many_writes_each_sample_loses_some_and_few_where_they_are_too_many():
    count = ALL_SUBSETS + 20
    found = list(subsets(count, random.Random(1), 4, near=False))
    assert () in found
    assert tuple(range(1, count)) in found
    assert all(len(kept) < count for kept in found)
    assert found == list(subsets(count, random.Random(1), 4, near=False))
    assert all(len(kept) >= count - 3 for kept in subsets(count, random.Random(1), 4, near=True))


def test_after_a_write_only_what_it_makes_possible_is_tried():
    cuts = list(losses(9, [512, 4096], random.Random(1), 2, near=False, torn=True))
    assert [cut.kept for cut in cuts if cut.kind == "lost"] == [(1,)]
    torn = [cut.torn for cut in cuts if cut.kind == "torn"]
    assert all(cut.position == 9 for cut in cuts)
    assert torn
    assert all(piece and 0 <= piece[0] < piece[1] <= 8 and piece != (0, 8) for piece in torn)
    # A sector is whole or not there.
    assert not any(cut.torn for cut in losses(9, [4096, 512], random.Random(1), 2, near=False, torn=True))
