"""Images of any shape: made here byte by byte, in all sparse formats, and read with windows of any size."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manageboot.errors import ImageFormatError
from manageboot.image.sparse import SparseMap
from manageboot.image.tarheader import FieldError
from support import archives
from support.archives import Extents, data_of, member, read_path

FORMATS = {
    "old-gnu": archives.old_gnu,
    "old-gnu-base256": lambda *parts: archives.old_gnu(*parts, number=archives.base256),
    "pax-0.0": archives.pax_sparse_00,
    "pax-0.1": archives.pax_sparse_01,
    "pax-1.0": archives.pax_sparse_10,
}


@st.composite
def images(draw) -> tuple[bytes, list[tuple[int, int]]]:
    """An image and its map: up to 60 extents, some empty, some touching, the last of any length."""
    unit = 512
    runs = draw(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=60))
    extents, position = [], 0
    for hole, data in runs:
        position += hole * unit
        extents.append((position, data * unit))
        position += data * unit
    odd = draw(st.integers(0, 511))
    if odd:
        extents.append((position, odd))
        position += odd
    size = position + draw(st.one_of(st.just(0), st.integers(1, 3000)))
    if draw(st.booleans()):
        extents.append((size, 0))  # as GNU tar marks the end of the file
    content = bytearray(size)
    for number, (start, length) in enumerate(extents):
        content[start : start + length] = bytes([1 + number % 255]) * length
    return bytes(content), extents


@given(
    image=images(),
    form=st.sampled_from(sorted(FORMATS)),
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=20),
    after=st.booleans(),
)
@example(image=(bytes(1), []), form="pax-0.1", sizes=[1], after=False)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sparse_image_in_any_windows(
    image: tuple[bytes, Extents], form: str, sizes: list[int], after: bool, tmp_path: Path
):
    content, extents = image
    if not content:
        return
    root = FORMATS[form]("root.img", len(content), data_of(content, extents), extents)
    boot = member("./boot.img", b"boot")
    path = tmp_path / "image.bin"
    path.write_bytes((root + boot if after else boot + root) + archives.END)
    turns: Iterator[int] = itertools.cycle(sizes)
    assert read_path(path, turns, extents) == {"root.img": content, "boot.img": b"boot"}


@given(image=images(), skipped=st.integers(0, 70000))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_left_of_a_member_is_skipped(image: tuple[bytes, Extents], skipped: int, tmp_path: Path):
    content, extents = image
    if not content:
        return
    path = tmp_path / "image.bin"
    root = archives.old_gnu("root.img", len(content), data_of(content, extents), extents)
    path.write_bytes(root + member("boot.img", b"boot") + archives.END)
    with archives.open_image([str(path)]) as update:
        members = update.members()
        first = next(members)
        window = bytearray(min(skipped, first.size))
        first.readinto(memoryview(window))
        assert window == content[: len(window)]
        second = next(members)
        assert second.name == "boot.img"
        window = bytearray(4)
        second.readinto(memoryview(window))
        assert window == b"boot"
        with pytest.raises(StopIteration):
            next(members)
        assert update.bytes_read == update.bytes_total


@given(runs=st.lists(st.tuples(st.integers(-3, 5), st.integers(0, 5)), max_size=12), size=st.integers(0, 40))
def test_a_map_is_taken_exactly_if_it_is_in_order_and_inside(runs: list[tuple[int, int]], size: int):
    extents = SparseMap(size)
    wanted: set[int] = set()
    position = end = 0
    for step, length in runs:
        position = max(position + step, 0)
        good = position >= end and position + length <= size
        if not good:
            with pytest.raises(FieldError):
                extents.add(position, length)
            return
        extents.add(position, length)
        wanted |= set(range(position, position + length))
        position = end = position + length
    found = [at for start, stop in zip(extents.starts, extents.ends, strict=True) for at in range(start, stop)]
    assert found == sorted(wanted)
    assert extents.data_size == len(wanted)


def test_a_window_beyond_the_image_is_a_bug_of_the_caller(tmp_path: Path):
    path = tmp_path / "image.bin"
    path.write_bytes(member("boot.img", b"boot") + member("root.img", b"root") + archives.END)
    with archives.open_image([str(path)]) as update, pytest.raises(ValueError, match="has 4 bytes left, 5 were asked"):
        next(update.members()).readinto(memoryview(bytearray(5)))


def test_a_member_can_not_be_read_after_the_next_one_was_asked_for(tmp_path: Path):
    path = tmp_path / "image.bin"
    path.write_bytes(member("boot.img", b"boot") + member("root.img", b"root") + archives.END)
    with archives.open_image([str(path)]) as update:
        members = update.members()
        first = next(members)
        next(members)
        with pytest.raises(ValueError, match="is read too late"):
            first.readinto(memoryview(bytearray(4)))


def test_too_many_extents_are_refused_while_they_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("manageboot.image.sparse.MAX_EXTENTS", 40)
    path = tmp_path / "image.bin"
    for form in FORMATS.values():
        for count, length in ((40, 512), (41, 512), (41, 0)):
            extents = [(number * 1024, length) for number in range(count)]
            content = bytes(50 * 1024)
            root = form("root.img", len(content), data_of(content, extents), extents)
            path.write_bytes(member("boot.img", b"boot") + root + archives.END)
            if count == 40:
                assert read_path(path)["root.img"] == content
            else:
                with pytest.raises(ImageFormatError, match="more than 40"):
                    read_path(path)
