"""The head of an image is looked at, and read again with the rest of it."""

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manageboot.image import open_image
from manageboot.image.content import HEAD_BYTES
from support.archives import END, data_of, member, pax_sparse_10, read_image

STEP = 4096


def image(extents: list[tuple[int, int]], size: int) -> bytes:
    dice = random.Random(size)
    content = bytearray(size)
    for start, length in extents:
        content[start : start + length] = dice.randbytes(length)
    return bytes(content)


@given(
    runs=st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=8),
    hole=st.integers(0, 40),
    sizes=st.lists(st.sampled_from([512, 4096, 65536, HEAD_BYTES, HEAD_BYTES + 512, 1 << 20]), min_size=1, max_size=5),
    form=st.sampled_from(["archive", "files"]),
)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_look_at_the_head_changes_nothing(
    runs: list[tuple[int, int]], hole: int, sizes: list[int], form: str, tmp_path: Path
):
    extents, position = [], 0
    for empty, full in runs:
        position += empty * STEP
        extents.append((position, full * STEP))
        position += full * STEP
    size = position + hole * STEP + 700
    root = image(extents, size)
    paths = [tmp_path / "image.tar"]
    paths[0].write_bytes(
        member("boot.img", b"boot") + pax_sparse_10("root.img", size, data_of(root, extents), extents) + END
    )
    if form == "files":
        paths = [tmp_path / "boot.img", tmp_path / "root.img"]
        paths[0].write_bytes(b"boot")
        with paths[1].open("wb") as file:
            file.truncate(size)
            for start, length in extents:
                file.seek(start)
                file.write(root[start : start + length])
    with open_image([str(path) for path in paths]) as update:
        heads = {}

        class Looked:
            """The update image, after a look at each head."""

            def members(self):
                for one in update.members():
                    heads[one.name] = one.head
                    yield one

        found = read_image(Looked(), itertools.cycle(sizes))
    assert found == {"boot.img": b"boot", "root.img": root}
    assert heads == {name: content[:HEAD_BYTES] for name, content in found.items()}


@pytest.mark.parametrize("form", ["archive", "files"])
def test_two_image_files_can_be_looked_at_before_they_are_read(form: str, tmp_path: Path):
    (tmp_path / "boot.img").write_bytes(b"boot")
    (tmp_path / "root.img").write_bytes(b"root")
    archive = tmp_path / "image.tar"
    archive.write_bytes(member("boot.img", b"boot") + member("root.img", b"root") + END)
    paths = [archive] if form == "archive" else [tmp_path / "boot.img", tmp_path / "root.img"]
    with open_image([str(path) for path in paths]) as update:
        known = {one.name: one.head for one in update.known}
        assert known == ({} if form == "archive" else {"boot.img": b"boot", "root.img": b"root"})
        assert read_image(update) == {"boot.img": b"boot", "root.img": b"root"}
