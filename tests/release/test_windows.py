"""Frames and windows: verified before they are used, and nothing else reaches the decompressor."""

import hashlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release import description, indexwriter
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index, verified
from manageboot.release.layout import BLOCK_BYTES, Frame, Operation, Window
from manageboot.release.windows import WindowReader
from support.releases import small_release, watched_decompressor

IMAGES = {"boot": b"boot" * 700, "root": bytes(WINDOW_BYTES) + b"root" * 300_000 + bytes(9000) + b"end"}
SMALL = small_release(IMAGES)
INDEX = verified(SMALL.idx, description.parse(SMALL.description))
NAMED = {frame.sha256 for frame in INDEX.frames()}


def read_all(index: Index, pack: bytes) -> dict[str, bytes]:
    """Put all images together."""
    reader = WindowReader(index, lambda offset, size: pack[offset : offset + size], Unpacker(index))
    images = {}
    for at, image in enumerate(index.images):
        content = bytearray(image.size)
        for window in index.windows(at):
            buffer = bytearray(b"\xaa" * WINDOW_BYTES)
            reader.fill(image, window, memoryview(buffer))
            begin, length = window.number * WINDOW_BYTES, image.length(window.number)
            content[begin : begin + length] = buffer[:length]
            padded = -(-length // BLOCK_BYTES) * BLOCK_BYTES
            assert not any(buffer[length:padded])
        images[image.role] = bytes(content)
    return images


blocks = st.sampled_from([bytes(BLOCK_BYTES), b"a" * BLOCK_BYTES, b"b" * BLOCK_BYTES])
contents = st.tuples(st.lists(blocks, max_size=20), st.binary(min_size=1, max_size=2 * BLOCK_BYTES)).map(
    lambda parts: b"".join([*parts[0], parts[1]])
)


@given(st.dictionaries(st.sampled_from(["boot", "root", "data"]), contents, min_size=1))
def test_the_images_come_back(images: dict[str, bytes]):
    if not any(any(content) for content in images.values()):
        return  # a pack needs a frame
    small = small_release(images)
    assert read_all(verified(small.idx, description.parse(small.description)), small.pack) == images


def test_only_verified_frames_reach_the_decompressor():
    with watched_decompressor() as seen:
        assert read_all(INDEX, SMALL.pack) == IMAGES
    assert set(seen.sha256) == NAMED
    assert seen.unverified(NAMED) == 0


def test_no_change_of_a_byte_of_the_pack_reaches_the_decompressor():
    pack = bytearray(SMALL.pack)
    with watched_decompressor() as seen:
        for at in range(len(pack)):
            pack[at] ^= 1 << at % 8
            with pytest.raises(
                errors.ReleaseDigestError, match=r"^cannot read full.pack at \d+, frame \d: its SHA-256"
            ):
                read_all(INDEX, bytes(pack))
            pack[at] ^= 1 << at % 8
    assert seen.bytes
    assert seen.unverified(NAMED) == 0


def test_a_frame_that_is_cut_off_is_refused():
    with pytest.raises(
        errors.ReleaseDigestError, match=r"^cannot read full.pack at \d+, frame \d: \d+ bytes are there"
    ):
        read_all(INDEX, SMALL.pack[:-1])


def index_of(stored: bytes, blocks: int = 1, sha256: bytes = bytes(32)) -> Index:
    frame = Frame(hashlib.sha256(stored).digest(), len(stored), blocks)
    return Index(indexwriter.encode([("root", 4096, [Window(0, sha256, (Operation(1, 0),))])], [frame]))


def packed(data: bytes, **named: bool) -> bytes:
    return zstandard.ZstdCompressor(**named).compress(data)


@pytest.mark.parametrize(
    ("stored", "cause"),
    [
        (b"no frame at all", "it is not a zstd frame"),
        (b"\x28\xb5\x2f\xfd", "it is not a zstd frame"),
        (packed(bytes(4096))[:-1], "it (is not a zstd frame|holds)"),
        (packed(bytes(4095)), "it says that it holds 4095 bytes instead of 4096"),
        (packed(bytes(1 << 30)), "it says that it holds 1073741824 bytes instead of 4096"),
        (packed(bytes(4096), write_content_size=False), "it says that it holds .* bytes instead of 4096"),
        (b"\x28\xb5\x2f\xfd\x61\x07\x00\x0f" + bytes(9), "it needs a dictionary"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0note", "it says that it holds .* bytes instead of 4096"),
        (packed(b"x" * 4096)[:4] + b"\xff" * 14, "it is not a zstd frame|it says that"),
    ],
)
def test_a_signed_frame_that_is_wrong_is_refused(stored: bytes, cause: str):
    with pytest.raises(errors.ReleaseFormatError, match=f"^cannot read full.pack at 0, frame 0: {cause}"):
        Unpacker(index_of(stored)).unpack(0, stored)


def test_a_frame_with_a_large_window_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj(size=4096)
    stored = compressor.compress(bytes(4096)) + compressor.flush()
    found = zstandard.get_frame_parameters(stored)
    if found.window_size <= 4096:  # this zstd makes one segment of it
        stored = stored[:4] + bytes([stored[4] & ~0x20, 17 << 3]) + stored[5:]
    assert zstandard.get_frame_parameters(stored).window_size == 1 << 27
    with pytest.raises(errors.ReleaseFormatError, match="it asks for a window of 134217728 bytes"):
        Unpacker(index_of(stored)).unpack(0, stored)


def test_a_window_that_is_not_the_one_in_the_index_is_refused():
    stored = packed(b"x" * 4096)
    index = index_of(stored)
    with pytest.raises(errors.ReleaseDigestError, match=r"^cannot read window 0 of root: its SHA-256 is "):
        read_all(index, stored)
