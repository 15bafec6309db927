"""The digest: defined by its documentation, here a second time in few words."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from manageboot.disk.digest import WINDOW_BYTES, ImageDigest

MIB = 1 << 20


def by_definition(image: bytes) -> str:
    parts = [len(image).to_bytes(8, "little")]
    for offset in range(0, len(image), MIB):
        window = image[offset : offset + MIB]
        if window.strip(b"\0"):
            parts += [offset.to_bytes(8, "little"), hashlib.sha256(window).digest()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@given(
    windows=st.lists(st.sampled_from([bytes(MIB), b"a" * MIB, b"\0" * (MIB - 1) + b"z"]), max_size=4),
    tail=st.binary(max_size=3),
)
def test_it_is_what_it_is_defined_to_be(windows: list[bytes], tail: bytes):
    assert WINDOW_BYTES == MIB
    image = b"".join(windows) + tail
    digest = ImageDigest()
    for offset in reversed(range(0, len(image), MIB)):
        digest.add(offset, memoryview(bytearray(image[offset : offset + MIB])))
    assert digest.hexdigest(len(image)) == by_definition(image)


def test_the_size_counts():
    assert ImageDigest().hexdigest(1) != ImageDigest().hexdigest(2)
