"""The index of a delta: what is written is read back, each rule holds, no change of a byte is taken."""

import hashlib
import itertools
from collections.abc import Sequence

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release import costs, delta, deltalayout, deltawriter, description, index
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent, Operation
from manageboot.release.deltawindows import DeltaReader
from manageboot.release.frames import Unpacker
from manageboot.release.layout import BLOCK_BYTES, COPY, FRAME_BYTES_MAX, PATCH, REPLACE, ZERO, Frame
from support.deltas import extent_of, with_delta
from support.releases import small_release, watched_decompressor

NOISE = b"".join(hashlib.sha256(number.to_bytes(4, "little")).digest() for number in range(3 * WINDOW_BYTES // 32))
OLD_IMAGES = {"boot": b"boot" * 700, "root": NOISE + b"end"}
NEW_IMAGES = {
    "boot": b"boot" * 800,
    "root": NOISE[18 * BLOCK_BYTES : 900_000] + bytes(3 * WINDOW_BYTES) + NOISE[8192:90_000] + b"end",
    "data": b"data" * 2000,
}
OLD = small_release(OLD_IMAGES, version="0.9")
NEW = with_delta(small_release(NEW_IMAGES, release_index=2), NEW_IMAGES, OLD, OLD_IMAGES)
NAMED = description.parse(NEW.description)
INDEX = index.verified(NEW.idx, NAMED)
[DELTA] = NAMED.deltas
IDX, PACK = NEW.deltas["from-0.9.idx"], NEW.deltas["from-0.9.pack"]
FOUND = delta.verified(IDX, INDEX, DELTA, "from-0.9.idx")


def content_of(found: DeltaIndex) -> tuple[list[tuple[Operation, ...]], list[tuple[Frame, tuple[Extent, ...]]]]:
    windows = [window.operations for at in range(len(found.index.images)) for window in found.windows(at)]
    return windows, [(frame, found.dictionary(at)) for at, frame in enumerate(found.frames())]


def images_of(found: DeltaIndex, pack: bytes, old: dict[str, bytes]) -> dict[str, bytes]:
    """Put all images together."""

    def read_old(wanted: Sequence[tuple[Extent, memoryview]]) -> None:
        for extent, target in wanted:
            target[:] = extent_of(found.old, old, extent)

    reader = DeltaReader(
        found, lambda offset, size: pack[offset : offset + size], read_old, Unpacker(found, "from-0.9.pack")
    )
    images = {}
    for at, image in enumerate(found.index.images):
        content = bytearray(image.size)
        for window in found.windows(at):
            buffer = memoryview(bytearray(b"\xaa" * WINDOW_BYTES))
            reader.fill(image, window, buffer)
            begin, length = window.number * WINDOW_BYTES, image.length(window.number)
            content[begin : begin + length] = buffer[:length]
            assert not any(buffer[length : -(-length // BLOCK_BYTES) * BLOCK_BYTES])
        images[image.role] = bytes(content)
    return images


def test_the_images_come_back_and_every_operation_occurs():
    windows, _ = content_of(FOUND)
    assert {one.code for operations in windows for one in operations} == {ZERO, COPY, REPLACE, PATCH}
    with watched_decompressor() as seen:
        assert images_of(FOUND, PACK, OLD_IMAGES) == NEW_IMAGES
    assert seen.unverified({frame.sha256 for frame in FOUND.frames()}) == 0
    assert len(set(seen.sha256)) == FOUND.frame_count


def test_what_is_read_gives_the_same_bytes_when_it_is_written():
    assert deltawriter.encode(*content_of(FOUND)) == IDX


def test_a_delta_is_of_its_index_and_windows_have_the_same_hashes():
    for at in range(len(INDEX.images)):
        ours = [(window.number, window.sha256) for window in FOUND.windows(at)]
        assert ours == [(window.number, window.sha256) for window in INDEX.windows(at)]


digests = st.binary(min_size=32, max_size=32)
OLD_BLOCKS = 1 << 32
BIG_OLD = (description.Image("a", 1 << 44, "00" * 32), description.Image("b", 5 * BLOCK_BYTES - 1, "00" * 32))
extents = st.integers(1, 512).flatmap(
    lambda blocks: st.builds(Extent, st.just(0), st.integers(0, OLD_BLOCKS - blocks), st.just(blocks))
) | st.builds(Extent, st.just(1), st.integers(0, 2), st.integers(1, 3))
frames = st.tuples(
    st.builds(Frame, digests, st.integers(1, FRAME_BYTES_MAX), st.integers(1, 1024)), st.lists(extents, max_size=2)
)
ROWS = [at for at, image in enumerate(INDEX.images) for _ in INDEX.windows(at)]
BLOCKS = [
    -(-image.length(window.number) // BLOCK_BYTES)
    for at, image in enumerate(INDEX.images)
    for window in INDEX.windows(at)
]


@st.composite
def contents(draw: st.DrawFn) -> tuple[list[list[Operation]], list[tuple[Frame, list[Extent]]]]:
    """Windows and frames of a delta, each frame in use."""
    some = draw(st.lists(frames, max_size=len(BLOCKS)))
    windows: list[list[Operation]] = []
    for at, blocks_of_window in enumerate(BLOCKS):
        operations: list[Operation] = []
        missing = blocks_of_window
        while missing:
            number = at if at < len(some) and not operations else draw(st.integers(-2, len(some) - 1))
            if number == -2 or len(operations) > 8:
                operations.append(Operation(ZERO, missing))
            elif number == -1:
                extent = draw(extents)
                operations.append(Operation(COPY, min(missing, extent.blocks), extent.image, extent.first))
            else:
                frame, dictionary = some[number]
                blocks = draw(st.integers(1, min(missing, frame.blocks)))
                first = draw(st.integers(0, frame.blocks - blocks))
                operations.append(Operation(PATCH if dictionary else REPLACE, blocks, number, first))
            missing -= operations[-1].blocks
        windows.append(operations)
    return windows, some


@settings(max_examples=30)
@given(contents())
def test_what_is_written_is_read_back(content: tuple[list[list[Operation]], list[tuple[Frame, list[Extent]]]]):
    windows, some = content
    found = DeltaIndex(deltawriter.encode(windows, some), INDEX, BIG_OLD, "x")
    assert content_of(found) == ([tuple(one) for one in windows], [(frame, tuple(one)) for frame, one in some])
    assert found.pack_size == sum(frame.size for frame, _ in some)
    assert list(found.offsets) == [sum(frame.size for frame, _ in some[:at]) for at in range(len(some))]


def test_no_change_of_a_byte_is_taken_nor_looked_at():
    content = bytearray(IDX)
    with watched_decompressor() as seen:
        for at in range(len(content)):
            content[at] ^= 1 << at % 8
            with pytest.raises(errors.ReleaseDigestError, match=r"^cannot read from-0.9.idx: its SHA-256 is "):
                delta.verified(bytes(content), INDEX, DELTA, "from-0.9.idx")
            content[at] ^= 1 << at % 8
    assert not seen.bytes


@settings(max_examples=50)
@given(st.integers(0, len(IDX) - 1), st.binary(min_size=1, max_size=12))
def test_a_signed_index_that_is_wrong_is_read_or_refused(at: int, noise: bytes):
    content = (IDX[:at] + noise + IDX[at + len(noise) :])[: len(IDX)]
    try:
        found = DeltaIndex(content, INDEX, DELTA.images, "x")
    except (errors.ReleaseFormatError, errors.ReleaseTooNewError):
        return
    # What was found good can be read to its end, and gives the right windows or none.
    content_of(found)
    try:
        assert images_of(found, PACK, OLD_IMAGES) == NEW_IMAGES
    except (errors.ReleaseDigestError, errors.ReleaseFormatError):
        return


COLUMNS_AT = deltalayout.HEADER.size + FOUND.frame_count * 32
COLUMNS = zstandard.ZstdDecompressor().decompress(IDX[COLUMNS_AT:])


@settings(max_examples=50)
@given(st.integers(0, len(COLUMNS) - 1), st.binary(min_size=1, max_size=4))
def test_signed_columns_that_are_wrong_are_read_or_refused(at: int, noise: bytes):
    columns = (COLUMNS[:at] + noise + COLUMNS[at + len(noise) :])[: len(COLUMNS)]
    content = IDX[:COLUMNS_AT] + zstandard.ZstdCompressor().compress(columns)
    try:
        found = DeltaIndex(content, INDEX, DELTA.images, "x")
    except (errors.ReleaseFormatError, errors.ReleaseTooNewError):
        return
    decoded = zstandard.ZstdDecompressor().decompress(deltawriter.encode(*content_of(found))[COLUMNS_AT:])
    assert decoded == columns
    try:
        assert images_of(found, PACK, OLD_IMAGES) == NEW_IMAGES
    except (errors.ReleaseDigestError, errors.ReleaseFormatError):
        return


def header(**named: int) -> bytes:
    """The good file with a number of its header changed."""
    names = ("magic", "version", "windows", "frames", "operations", "extents", "pack", "columns")
    values = dict(zip(names, deltalayout.HEADER.unpack_from(IDX), strict=True)) | named
    return deltalayout.HEADER.pack(*values.values()) + IDX[deltalayout.HEADER.size :]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it has 0 bytes, less than its header"),
        (bytes(description.INDEX_BYTES_MAX + 1), "it has 33554433 bytes, and 33554432 are allowed"),
        (b"X" + IDX[1:], "it begins with 58"),
        (header(version=2), "it is of version 2, and this manageboot reads 1"),
        (header(windows=7), f"it has 7 windows, and the index of the release has {len(BLOCKS)}"),
        (header(frames=0xFFFFFFFF), "too few for 4294967295 frames"),
        (header(columns=(16 << 20) + 1), "its columns have 16777217 bytes, and 16777216 are allowed"),
        (header(columns=7), "its columns are not a frame of zstd that holds 7 bytes"),
        (header(frames=FOUND.frame_count + 1), "its columns are not a frame of zstd"),
        (header(operations=0xFFFFFFFF), r"its windows have \d+ operations, not 4294967295"),
        (header(extents=1), r"its frames have \d+ extents, not 1$"),
        (header(pack=1), "its frames have .* bytes, and the pack 1$"),
        (IDX[:COLUMNS_AT], "its columns are not a frame of zstd"),
        (IDX[:-1], "its columns "),
        (
            IDX[:COLUMNS_AT] + zstandard.ZstdCompressor(write_content_size=False).compress(COLUMNS),
            "its columns are not a frame of zstd that holds",
        ),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(content: bytes, cause: str):
    with pytest.raises((errors.ReleaseFormatError, errors.ReleaseTooNewError), match=f"^cannot read x.idx: .*{cause}"):
        DeltaIndex(content, INDEX, DELTA.images, "x.idx")


def test_columns_that_are_longer_or_shorter_are_refused():
    for columns, cause in (
        (COLUMNS + b"\0", "its columns have 1 bytes more than they need"),
        (COLUMNS[:-1], "its columns end too early"),
        (b"", "its columns end too early"),
    ):
        content = header(columns=len(columns))[:COLUMNS_AT] + zstandard.ZstdCompressor().compress(columns)
        with pytest.raises(errors.ReleaseFormatError, match=f"^cannot read x: {cause}"):
            DeltaIndex(content, INDEX, DELTA.images, "x")


ONE = {"root": b"x" * 3 * BLOCK_BYTES}
ONE_RELEASE = small_release(ONE)
ONE_INDEX = index.verified(ONE_RELEASE.idx, description.parse(ONE_RELEASE.description))
ONE_OLD = (description.Image("root", 5 * BLOCK_BYTES - 1, "00" * 32),)
ALONE, WITH = (Frame(bytes(32), 9, 4), []), (Frame(bytes(32), 9, 4), [Extent(0, 0, 5)])


@pytest.mark.parametrize(
    ("operations", "some", "cause"),
    [
        ([Operation(COPY, 3)], [ALONE], "frame 0 belongs to no window"),
        ([Operation(COPY, 2)], [], "the operations of window 0 of root have 2 blocks, and the window 3"),
        ([Operation(COPY, 4)], [], "the operations of window 0 of root have 4 blocks, and the window 3"),
        ([], [], "the operations of window 0 of root have 0 blocks, and the window 3"),
        ([Operation(COPY, 3), Operation(ZERO, 0)], [], "window 0 of root has an operation of no blocks"),
        ([Operation(COPY, 3, 0, 3)], [], "window 0 of root needs blocks 3 to 6 of old root, which has 5"),
        ([Operation(COPY, 3, 0, 0xFFFFFFFF)], [], "needs blocks 4294967295 to 4294967298 of old root"),
        ([Operation(COPY, 3, 1, 0)], [], "window 0 of root needs old image 1, and there are 1"),
        ([Operation(REPLACE, 3, 1, 0)], [ALONE], "window 0 of root needs frame 1, and there are 1"),
        ([Operation(REPLACE, 3, 0, 2)], [ALONE], "window 0 of root needs blocks 2 to 5 of frame 0, which has 4"),
        ([Operation(PATCH, 3)], [ALONE], "has operation 3 of frame 0, which needs no dictionary"),
        ([Operation(REPLACE, 3)], [WITH], "has operation 2 of frame 0, which needs a dictionary"),
        ([Operation(REPLACE, 3)], [(Frame(bytes(32), 0, 4), [])], "frame 0 has 0 bytes, and 1 to"),
        ([Operation(REPLACE, 3)], [(Frame(bytes(32), FRAME_BYTES_MAX + 1, 4), [])], "frame 0 has 4210689 bytes"),
        ([Operation(REPLACE, 3)], [(Frame(bytes(32), 9, 1025), [])], "frame 0 has 1025 blocks"),
        ([Operation(ZERO, 3)], [(Frame(bytes(32), 9, 0), [])], "frame 0 has 0 blocks"),
        ([Operation(PATCH, 3)], [(ALONE[0], [Extent(0, 1, 5)])], "frame 0 needs blocks 1 to 6 of old root"),
        ([Operation(PATCH, 3)], [(ALONE[0], [Extent(3, 0, 1)])], "frame 0 needs old image 3"),
        ([Operation(PATCH, 3)], [(ALONE[0], [Extent(0, 0, 0)])], "frame 0 takes no blocks of an old image"),
        (
            [Operation(PATCH, 3)],
            [(ALONE[0], [Extent(0, 0, 5)] * 205)],
            "frame 0 needs 1025 blocks of old data, and 1024 are allowed",
        ),
        ([Operation(4, 3)], [], "it has operation 4, which version 1 does not know"),
    ],
)
def test_content_that_breaks_a_rule_is_refused(
    operations: list[Operation], some: list[tuple[Frame, list[Extent]]], cause: str
):
    with pytest.raises((errors.ReleaseFormatError, errors.ReleaseTooNewError), match=f"^cannot read x: .*{cause}"):
        DeltaIndex(deltawriter.encode([operations], some), ONE_INDEX, ONE_OLD, "x")


def test_a_window_needs_few_frames():
    content = small_release({"root": NOISE[: 17 * BLOCK_BYTES]})
    found = index.verified(content.idx, description.parse(content.description))
    operations = [Operation(REPLACE, 1, number) for number in range(17)]
    with pytest.raises(errors.ReleaseFormatError, match="window 0 of root needs 17 frames, and 16 are allowed"):
        DeltaIndex(deltawriter.encode([operations], [ALONE] * 17), found, ONE_OLD, "x")


def test_a_delta_of_another_pack_or_another_release_is_refused():
    other = DELTA._replace(pack=DELTA.pack._replace(size=DELTA.pack.size + 1))
    with pytest.raises(errors.ReleaseFormatError, match="it is of a pack of "):
        delta.verified(IDX, INDEX, other, "x")
    with pytest.raises(errors.ReleaseFormatError, match=r"windows, and the index of the release has 1$"):
        delta.verified(IDX, ONE_INDEX, DELTA, "x")


def test_other_old_data_gives_an_error_and_never_a_wrong_window():
    for at in itertools.chain(range(0, 800_000, 50_000), [len(NOISE) - 9]):
        changed = bytearray(OLD_IMAGES["root"])
        changed[at] ^= 1
        try:
            assert images_of(FOUND, PACK, {**OLD_IMAGES, "root": bytes(changed)}) == NEW_IMAGES
        except errors.ReleaseDigestError as error:
            assert str(error).startswith("cannot make window ")
    gone = {"boot": bytes(2800), "root": bytes(len(OLD_IMAGES["root"]))}
    with pytest.raises(errors.ReleaseDigestError, match=r"^cannot make window 0 of boot: its SHA-256 is "):
        images_of(FOUND, PACK, gone)


def test_a_frame_with_a_dictionary_has_no_checksum():
    raw = zstandard.ZstdCompressionDict(b"y" * BLOCK_BYTES, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stored = zstandard.ZstdCompressor(dict_data=raw, write_checksum=True).compress(b"y" * 3 * BLOCK_BYTES)
    frame = Frame(hashlib.sha256(stored).digest(), len(stored), 3)
    content = deltawriter.encode([[Operation(PATCH, 3)]], [(frame, [Extent(0, 0, 1)])])
    unpacker = Unpacker(DeltaIndex(content, ONE_INDEX, ONE_OLD, "x"), "from-1.pack")
    with pytest.raises(errors.ReleaseFormatError, match="frame 0: it has a dictionary and a checksum"):
        unpacker.unpack(0, stored, b"y" * BLOCK_BYTES)


def test_the_cost_of_windows_is_that_of_their_frames_each_counted_once():
    for found in (FOUND, INDEX):
        windows = [window for at in range(len(INDEX.images)) for window in found.windows(at)]
        assert costs.pack_bytes(found, windows) == costs.pack_bytes(found, windows * 2) == found.pack_size
        assert costs.frames_of(windows) == list(range(found.frame_count))
        assert costs.pack_bytes(found, []) == 0
        first = costs.frames_of(windows[:1])
        assert costs.pack_bytes(found, windows[:1]) == sum(found.frame(number).size for number in first)
