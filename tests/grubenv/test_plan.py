"""The order of sector writes: whatever prefix of them is on the disk, it reads as old or as new."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grubenv import EnvBlock, NotAtomicError
from grubenv.view import variables
from grubenv.writing.plan import plan
from tests.grubenv.blocks import WARNING, block
from tests.grubenv.support import NAMES, VALUES, text, valid_blocks


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


def test_an_escaped_newline_at_the_boundary_cannot_make_a_line_of_its_own() -> None:
    head = b"foreign=" + b"x" * 460 + b"\n"
    old = EnvBlock.parse(block(head))
    room = 512 - len(old.build().rstrip(b"#")) - len("new=") - 1
    new = old.update({"new": "y" * room + "\nevil=1"})
    assert new.build()[511:513] == b"\\\n"
    check_every_prefix(old.build(), new, old)


def test_duplicates_that_were_there_already_do_not_matter() -> None:
    old = EnvBlock.parse(block(b"a=1\na=2\nforeign=" + b"x" * 440 + b"\n"))
    assert [step.offset for step in plan(old.build(), old.update({"new": "y" * 60}))] == [512, 0]


def test_another_size_is_refused() -> None:
    with pytest.raises(NotAtomicError, match="from 1024 to 2048"):
        plan(EnvBlock.create().build(), EnvBlock.create(2048))


def test_of_a_large_block_fewer_sectors_are_written_at_once() -> None:
    """Each state in between is read, so there are not more of them than can be read in a moment."""
    small, large = EnvBlock.create(8192), EnvBlock.create(1 << 20)
    assert len(plan(small.build(), small.update({"a": "x" * 8000}))) == 16
    assert len(plan(large.build(), large.update({"a": "x" * 3900}))) == 8
    with pytest.raises(NotAtomicError, match="the change spreads over several sectors"):
        plan(large.build(), large.update({"a": "x" * 4200}))


def check_every_prefix(image: bytes, new: EnvBlock, old: EnvBlock, front: tuple[str, ...] = ()) -> list[bytes]:
    """Check each state that a power cut can leave, and that the last one is what was wanted."""
    steps = plan(image, new, front)
    for step in steps:
        changed = {i // 512 for i, (a, b) in enumerate(zip(image, step.image, strict=True)) if a != b}
        assert changed == {step.offset // 512}
        assert variables(step.image) == dict(EnvBlock.parse(step.image))
        assert variables(step.image) in (dict(old), dict(new))
        image = step.image
    assert variables(image) == dict(new)
    assert not EnvBlock.parse(image).beyond(512, front)
    return [step.image for step in steps]


def test_a_longer_value_takes_the_room_of_a_filler() -> None:
    old = EnvBlock.parse(block(b"first=1\n" + b"#" * 20 + b"\nforeign=" + b"x" * 520 + b"\nlast=9\n"))
    images = check_every_prefix(old.build(), old.update({"first": "longer", "last": "9"}), old)
    assert len(images) == 1
    assert images[0][512:] == old.build()[512:]


def test_a_shorter_value_leaves_a_filler() -> None:
    old = long_block(first=b"first=longer\n")
    [image] = check_every_prefix(old.build(), old.update({"first": "1"}), old)
    assert image.startswith(b"# GRUB Environment Block\nfirst=1\n####\nforeign=")


def test_a_foreign_name_keeps_both_its_values() -> None:
    old = long_block(first=b"first=longer\nother=1\nother=2\n", last=b"other=3\n")
    [image] = check_every_prefix(old.build(), old.update({"first": "1"}), old)
    assert [line.value for line in EnvBlock.parse(image).lines if line.name == "other"] == ["1", "2", "3"]


def test_a_comment_is_moved_out_to_make_room() -> None:
    old = long_block(first=WARNING + b"first=1\n")
    images = check_every_prefix(old.build(), old.update({"first": "much longer"}), old)
    assert [line.raw for line in EnvBlock.parse(images[-1]).lines][-1] == WARNING


def test_a_foreign_variable_is_moved_out_to_make_room() -> None:
    old = long_block(first=b"other=of somebody\nfirst=1\n")
    images = check_every_prefix(old.build(), old.update({"first": "longer"}), old)
    assert list(EnvBlock.parse(images[-1]))[-1] == "other"


NAMED = ("boot_alternative", "boot_cycle")


@pytest.mark.parametrize("crossing", range(70))
def test_names_move_to_the_front(crossing: int) -> None:
    """Wherever the boundary lies in the lines, the names that boot get in front of it, never there twice."""
    foreign = b"one=" + b"x" * 200 + b"\ntwo=" + b"y" * (200 + crossing) + b"\n"
    old = EnvBlock.parse(block(foreign + WARNING + b"boot_alternative=A\nboot_cycle=stable\nlast=1\n", 1536))
    new = old.update({"boot_alternative": "B", "boot_cycle": "first_boot"})
    images = check_every_prefix(old.build(), new, old, NAMED)
    for image in images:
        assert not set(EnvBlock.parse(image).duplicates) & set(NAMED)
    assert EnvBlock.parse(images[-1]).lines[0].name in NAMED


def test_names_that_are_in_front_stay_there() -> None:
    old = long_block(first=b"boot_cycle=stable\n")
    assert plan(old.build(), old, ["boot_cycle", "not_set"]) == []


@pytest.mark.parametrize(
    ("old", "change", "front", "cause"),
    [
        pytest.param(
            block(b"a=1\n" + b"f=" + b"x" * 700 + b"\n" + b"g=" + b"x" * 230 + b"\n"),
            {"a": "22"},
            [],
            "no line can be moved",
            id="no room at the end",
        ),
        pytest.param(
            block(b"a=1\n" + b"f=" + b"x" * 520 + b"\na=2\n"), {"a": "333"}, [], "has two lines", id="duplicate"
        ),
        pytest.param(
            block(b"a=1\n" + b"f=" + b"x" * 520 + b"\nb=2\n"),
            {"a": "333", "b": "444"},
            [],
            "beyond the first sector would change",
            id="both sides of the boundary",
        ),
        pytest.param(
            block(b"f=" + b"x" * 1020 + b"\nb=2\n", 2048),
            {"b": "4"},
            ["b"],
            "beyond the second sector",
            id="third sector",
        ),
    ],
)
def test_what_cannot_be_done_safely_is_refused(
    old: bytes, change: dict[str, str], front: list[str], cause: str
) -> None:
    with pytest.raises(NotAtomicError, match=cause):
        plan(old, EnvBlock.parse(old).update(change), front)


@given(valid_blocks(), st.dictionaries(NAMES, VALUES, max_size=3), st.integers(0, 500), st.booleans())
def test_every_prefix_reads_as_old_or_new(data: bytes, set_: dict[str, bytes], filling: int, in_front: bool) -> None:
    old = EnvBlock.parse(data + b"#" * 1024).update({"filling": "x" * filling})
    new = old.update({name: text(value) for name, value in set_.items()})
    with suppress(NotAtomicError):
        check_every_prefix(old.build(), new, old, tuple(set_) if in_front else ())
