"""The order of sector writes: whatever prefix of them is on the disk, it reads as old or as new."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grubenv import EnvBlock, NotAtomicError
from grubenv.plan import plan
from grubenv.view import variables
from tests.grubenv.support import NAMES, VALUES, block, text, valid_blocks


def long_block(*, first: bytes = b"first=1\n", last: bytes = b"last=9\n") -> EnvBlock:
    """Return a block whose lines reach into the second sector."""
    return EnvBlock.parse(block(first + b"foreign=" + b"x" * 520 + b"\n" + last))


def test_nothing_to_do() -> None:
    old = long_block()
    assert plan(old.build(), old) == []


def test_one_sector() -> None:
    old = EnvBlock.create().update({"a": "1"})
    new = old.update({"a": "2", "b": "3"})
    steps = plan(old.build(), new)
    assert [(step.offset, step.length) for step in steps] == [(0, 512)]
    assert steps[-1].image == new.build()


def test_a_change_of_the_same_length_stays_in_its_sector() -> None:
    old = long_block()
    assert [step.offset for step in plan(old.build(), old.update({"last": "8"}))] == [512]
    assert [step.offset for step in plan(old.build(), old.update({"first": "2"}))] == [0]


def test_a_new_line_across_the_boundary_is_written_from_its_end() -> None:
    old = EnvBlock.parse(block(b"foreign=" + b"x" * 460 + b"\n"))
    steps = plan(old.build(), old.update({"new": "y" * 40}))
    assert [step.offset for step in steps] == [512, 0]
    assert variables(steps[0].image) == dict(old)


def test_a_shift_across_the_boundary_is_refused() -> None:
    old = long_block()
    with pytest.raises(NotAtomicError, match="spreads over 2 sectors"):
        plan(old.build(), old.update({"first": "longer"}))


def test_an_escaped_newline_at_the_boundary_cannot_make_a_line_of_its_own() -> None:
    head = b"foreign=" + b"x" * 460 + b"\n"
    old = EnvBlock.parse(block(head))
    room = 512 - len(old.build().rstrip(b"#")) - len("new=") - 1
    new = old.update({"new": "y" * room + "\nevil=1"})
    assert new.build()[511:513] == b"\\\n"
    with pytest.raises(NotAtomicError):
        plan(old.build(), new)


def test_duplicates_that_were_there_already_do_not_matter() -> None:
    old = EnvBlock.parse(block(b"a=1\na=2\nforeign=" + b"x" * 440 + b"\n"))
    assert [step.offset for step in plan(old.build(), old.update({"new": "y" * 60}))] == [512, 0]


def test_another_size_is_refused() -> None:
    with pytest.raises(NotAtomicError, match="from 1024 to 2048"):
        plan(EnvBlock.create().build(), EnvBlock.create(2048))


@given(valid_blocks(), st.dictionaries(NAMES, VALUES, max_size=3), st.integers(0, 500))
def test_every_prefix_reads_as_old_or_new(data: bytes, set_: dict[str, bytes], filling: int) -> None:
    old = EnvBlock.parse(data + b"#" * 1024).update({"filling": "x" * filling})
    new = old.update({name: text(value) for name, value in set_.items()})
    image = old.build()
    try:
        steps = plan(image, new)
    except NotAtomicError:
        return
    for step in steps:
        changed = {i // 512 for i, (a, b) in enumerate(zip(image, step.image, strict=True)) if a != b}
        assert changed == {step.offset // 512}
        assert variables(step.image) in (dict(old), dict(new))
        image = step.image
    assert image == new.build()
