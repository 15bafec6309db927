"""release.idx: what is written is read back, each rule of it holds, and no change of a byte is taken."""

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.release import description, indexwriter, layout
from manageboot.release.index import Index, verified
from manageboot.release.layout import BLOCK_BYTES, Frame, Operation, Window
from support.releases import small_release

digests = st.binary(min_size=32, max_size=32)


@st.composite
def contents(draw: st.DrawFn) -> tuple[list[tuple[str, int, list[Window]]], list[Frame]]:
    """Images and frames of an index, each frame in use."""
    frames = draw(
        st.lists(
            st.builds(Frame, digests, st.integers(1, layout.FRAME_BYTES_MAX), st.integers(1, layout.FRAME_BLOCKS_MAX)),
            min_size=1,
            max_size=8,
        )
    )
    images, unused = [], list(range(len(frames)))
    for at in range(draw(st.integers(1, 4))):
        windows, number = [], draw(st.integers(0, 3))
        while unused if at == 0 else draw(st.booleans()):
            first = unused.pop() if unused else draw(st.integers(0, len(frames) - 1))
            windows.append(Window(number, draw(digests), draw(operations(frames, first))))
            number += draw(st.integers(1, 1000))
        least = (windows[-1].number + 1) * WINDOW_BYTES if windows else 1
        images.append((f"role{at}", least + draw(st.integers(0, 1 << 40)), windows))
    return images, frames


@st.composite
def operations(draw: st.DrawFn, frames: list[Frame], first: int) -> tuple[Operation, ...]:
    """The operations of a full window, one of which needs a certain frame."""
    found, missing = [], layout.WINDOW_BLOCKS
    while missing:
        blocks = draw(st.integers(1, missing))
        frame = first if not found else draw(st.none() | st.integers(0, len(frames) - 1))
        start = 0
        if frame is not None:
            blocks = min(blocks, frames[frame].blocks)
            start = draw(st.integers(0, frames[frame].blocks - blocks))
        if len(found) > 20:
            frame, start, blocks = None, 0, missing
        found.append(Operation(blocks, frame, start))
        missing -= blocks
    return tuple(found)


@given(contents())
def test_what_is_written_is_read_back(content: tuple[list[tuple[str, int, list[Window]]], list[Frame]]):
    images, frames = content
    index = Index(indexwriter.encode(images, frames))
    assert [(image.role, image.size) for image in index.images] == [(role, size) for role, size, _ in images]
    assert [list(index.windows(at)) for at in range(len(images))] == [windows for _, _, windows in images]
    assert list(index.frames()) == frames
    assert index.pack_size == sum(frame.size for frame in frames)
    assert list(index.offsets) == [sum(frame.size for frame in frames[:at]) for at in range(len(frames))]


IMAGES = {"boot": b"boot" * 700, "root": bytes(WINDOW_BYTES) + b"root" * 2048 + bytes(9000) + b"end"}
RELEASE = small_release(IMAGES)
NAMED = description.parse(RELEASE.description)


def test_the_digest_of_an_image_is_that_of_the_engine():
    index = verified(RELEASE.idx, NAMED)
    for at, content in enumerate(IMAGES.values()):
        digest = ImageDigest()
        for offset in range(0, len(content), WINDOW_BYTES):
            digest.add(offset, memoryview(bytearray(content[offset : offset + WINDOW_BYTES])))
        assert index.digest(at) == digest.hexdigest(len(content))


def test_no_change_of_a_byte_is_taken_nor_looked_at():
    content = bytearray(RELEASE.idx)
    for at in range(len(content)):
        content[at] ^= 1 << at % 8
        with pytest.raises(errors.ReleaseDigestError, match=r"^cannot read release.idx: its SHA-256 is "):
            verified(bytes(content), NAMED)
        content[at] ^= 1 << at % 8
    with pytest.raises(errors.ReleaseDigestError, match=f"it has {len(content) + 1} bytes, and {len(content)} were"):
        verified(bytes(content) + b"\0", NAMED)


def test_an_index_of_another_pack_or_of_other_images_is_refused():
    other = NAMED._replace(pack=NAMED.pack._replace(size=NAMED.pack.size + 1))
    with pytest.raises(errors.ReleaseFormatError, match="it is of a pack of "):
        verified(RELEASE.idx, other)
    for image in (
        NAMED.images[0]._replace(size=2801),
        NAMED.images[0]._replace(role="var"),
        NAMED.images[0]._replace(digest="00" * 32),
    ):
        with pytest.raises(errors.ReleaseFormatError, match=r"it is of other images than release.json$"):
            verified(RELEASE.idx, NAMED._replace(images=(image, NAMED.images[1])))


FRAMES = layout.HEADER.size + 2 * layout.IMAGE_ROW.size
WINDOWS = FRAMES + 2 * layout.FRAME_ROW.size
OPERATIONS = WINDOWS + 2 * layout.WINDOW_ROW.size
LAST = OPERATIONS + 3 * layout.OPERATION_ROW.size
"""The index of these images: 2 frames, 2 windows, and 1 and 3 operations."""


def put(form: str, *places: tuple[int, Any]) -> bytes:
    content = bytearray(RELEASE.idx)
    for at, value in places:
        struct.pack_into(f"<{form}", content, at, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it has 0 bytes, less than its header"),
        (RELEASE.idx[:-1], f"it has {len(RELEASE.idx) - 1} bytes, and {len(RELEASE.idx)} by its header"),
        (bytes(description.INDEX_BYTES_MAX + 1), "it has 33554433 bytes, and 33554432 are allowed"),
        (put("B", (0, 0)), "it begins with 00"),
        (put("I", (12, 0)), "it has 0 images"),
        (put("I", (12, 17)), "it has 17 images"),
        (put("I", (16, 0xFFFFFFFF)), "bytes, and .* by its header"),
        (put("I", (20, 0xFFFFFFFF)), "bytes, and .* by its header"),
        (put("I", (24, 0xFFFFFFFF)), "bytes, and .* by its header"),
        (put("Q", (28, 1)), "its frames have .* bytes, and the pack 1$"),
        (put("4s", (layout.HEADER.size, b"../x")), "'../x' is not the name of a role"),
        (put("8s", (layout.HEADER.size, b"a\0b")), r"'a\\x00b' is not the name of a role"),
        (put("4s", (layout.HEADER.size, b"root")), "a role is there twice"),
        (put("Q", (layout.HEADER.size + 32, 0)), "the image of boot has 0 bytes"),
        (put("Q", (layout.HEADER.size + 32, 1 << 45)), "the image of boot has 35184372088832 bytes"),
        (put("I", (layout.HEADER.size + 40, 2)), "its images have another number of windows"),
        (put("I", (FRAMES + 32, 0)), "frame 0 has 0 bytes"),
        (put("I", (FRAMES + 32, 1 << 31)), "frame 0 has 2147483648 bytes"),
        (put("H", (FRAMES + 36, 0)), "frame 0 has 0 blocks"),
        (put("H", (FRAMES + 36, 1025)), "frame 0 has 1025 blocks"),
        (put("I", (WINDOWS + 32, 1)), "window 1 of boot begins at the end of the image or after it"),
        (put("H", (WINDOWS + 36, 5)), "window 0 of boot has 5 operations, and 4 are left"),
        (put("H", (WINDOWS + 36, 0)), "the operations of window 0 of boot have 0 blocks, and the window 1$"),
        (put("H", (WINDOWS + 38 + 36, 2)), "the operations of window 1 of root have .* blocks, and the window 5$"),
        (put("H", (OPERATIONS + 2, 0)), "window 0 of boot has an operation of no blocks"),
        (put("H", (OPERATIONS + 2, 2)), "window 0 of boot needs blocks 0 to 2 of frame 0, which has 1"),
        (put("H", (OPERATIONS + 4, 1)), "window 0 of boot needs blocks 1 to 2 of frame 0, which has 1"),
        (put("I", (OPERATIONS + 6, 2)), "window 0 of boot needs frame 2, and there are 2"),
        (put("I", (OPERATIONS + 6, 1)), "frame 0 belongs to no window"),
        (put("H", (OPERATIONS, 0)), "window 0 of boot needs 0 frames"),
        (put("H", (LAST - 10 + 4, 1)), "window 1 of root has zeros that come from a frame"),
        (put("I", (LAST - 10 + 6, 1)), "window 1 of root has zeros that come from a frame"),
    ],
)
def test_what_breaks_a_rule_is_refused(content: bytes, cause: str):
    with pytest.raises((errors.ReleaseFormatError, errors.ReleaseTooNewError), match=f"^cannot read x.idx: .*{cause}"):
        Index(content, "x.idx")


@pytest.mark.parametrize("code", [layout.COPY, layout.PATCH, 4, 0xFFFF])
def test_an_operation_of_later_versions_is_named(code: int):
    with pytest.raises(errors.ReleaseTooNewError, match=f"boot has operation {code}, which version 1 does not know"):
        Index(put("H", (OPERATIONS, code)))


def test_another_version_is_refused():
    with pytest.raises(errors.ReleaseTooNewError, match="it is of version 2, and this manageboot reads 1"):
        Index(put("I", (8, 2)))


def test_windows_are_in_order():
    window = Window(0, bytes(32), (Operation(256, 0),))
    frames = [Frame(bytes(32), 1, 256)]
    with pytest.raises(errors.ReleaseFormatError, match="window 0 of root comes after window 0"):
        Index(indexwriter.encode([("root", 4 * WINDOW_BYTES, [window, window])], frames))


def test_a_window_needs_few_frames():
    frames = [Frame(bytes(32), 1, 16)] * 17
    window = Window(0, bytes(32), tuple(Operation(1, number) for number in range(17)))
    with pytest.raises(errors.ReleaseFormatError, match="window 0 of root needs 17 frames, and 1 to 16 are allowed"):
        Index(indexwriter.encode([("root", 17 * BLOCK_BYTES, [window])], frames))


@given(st.integers(0, len(RELEASE.idx) - 1), st.binary(min_size=1, max_size=12))
def test_a_signed_index_that_is_wrong_is_read_or_refused(at: int, noise: bytes):
    content = (RELEASE.idx[:at] + noise + RELEASE.idx[at + len(noise) :])[: len(RELEASE.idx)]
    try:
        index = Index(content)
    except (errors.ReleaseFormatError, errors.ReleaseTooNewError):
        return
    # What was found good can be read to its end, and says the same when it is written.
    images = [(image.role, image.size, list(index.windows(number))) for number, image in enumerate(index.images)]
    assert indexwriter.encode(images, list(index.frames())) == content
