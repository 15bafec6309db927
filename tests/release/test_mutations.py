"""A release with damage in it, at random: what is not the published byte is refused before it is used.

`make fuzz` tries thousands of others.
"""

import contextlib
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES, window_digest
from manageboot.release import description, indexwriter
from manageboot.release.description import Release
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index, verified
from manageboot.release.windows import WindowReader
from support.releases import Small, file_of, small_release, watched_decompressor

IMAGES = {
    "boot": b"\x12boot" * 900 + bytes(20_000) + b"end",
    "root": b"\x13root" * 250_000 + bytes(2 * WINDOW_BYTES) + bytes(range(256)) * 40 + bytes(5000) + b"x" * 9000,
}
GOOD = small_release(IMAGES)
FILES = ("description", "idx", "pack")

places = st.integers(0, 1 << 30)
changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "cut", "insert", "copy", "swap"]),
        places,
        places,
        st.binary(min_size=1, max_size=9) | st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x28\xb5\x2f\xfd", b"\x80"]),
    ),
    min_size=1,
    max_size=4,
)
Change = tuple[str, int, int, bytes]


def mutated(content: bytes, changed: list[Change]) -> bytes:
    data = bytearray(content)
    for how, one, other, noise in changed:
        at, second = one % (len(data) + 1), other % (len(data) + 1)
        if how == "flip" and at < len(data):
            data[at] ^= noise[0] or 1
        elif how == "set":
            data[at : at + len(noise)] = noise
        elif how == "cut":
            del data[min(at, second) : min(at, second) + len(noise)]
        elif how == "insert":
            data[at:at] = noise
        elif how == "copy":
            data[at : at + 40] = data[second : second + 40]
        else:
            data[at : at + 4], data[second : second + 4] = data[second : second + 4], data[at : at + 4]
    return bytes(data)


def read_windows(index: Index, pack: bytes) -> int:
    """Read all windows as a node would, and return how many there were; each is the one that the index names."""
    reader = WindowReader(index, lambda offset, size: pack[offset : offset + size], Unpacker(index))
    count = 0
    for at, image in enumerate(index.images):
        for window in index.windows(at):
            buffer = memoryview(bytearray(WINDOW_BYTES))
            reader.fill(image, window, buffer)
            assert window_digest(buffer[: image.length(window.number)]) == window.sha256
            count += 1
    return count


def read(small: Small, named: Release) -> int:
    """Read a release whose release.json has been verified."""
    index = verified(small.idx, named)
    with watched_decompressor() as seen:
        try:
            return read_windows(index, small.pack)
        finally:
            assert seen.unverified({frame.sha256 for frame in index.frames()}) == 0


REFUSALS = (errors.ReleaseFormatError, errors.ReleaseDigestError, errors.ReleaseTooNewError)


@given(st.sampled_from(["idx", "pack"]), changes)
def test_what_is_not_what_was_published_is_refused(which: str, changed: list[Change]):
    small = GOOD._replace(**{which: mutated(getattr(GOOD, which), changed)})
    named = description.parse(GOOD.description)
    if small == GOOD:
        return
    try:
        read(small, named)
    except errors.ReleaseDigestError:
        return
    # Of the pack, what is behind its frames is not looked at here.
    assert which == "pack"
    assert small.pack.startswith(GOOD.pack)


@given(changes, changes, st.booleans())
def test_what_was_published_wrongly_is_read_or_refused(
    in_index: list[Change], in_description: list[Change], both: bool
):
    """Whoever signs may be wrong as well: the digests are right, and what they are of is not."""
    idx = mutated(GOOD.idx, in_index)
    named = description.parse(GOOD.description)._replace(idx=file_of(idx))
    content = mutated(description.encode(named), in_description) if both else description.encode(named)
    with contextlib.suppress(REFUSALS):
        read(GOOD._replace(idx=idx), description.parse(content))


@given(changes)
def test_a_frame_that_was_published_wrongly_is_refused_after_its_digest(changed: list[Change]):
    index = verified(GOOD.idx, description.parse(GOOD.description))
    frames, stored, offset = list(index.frames()), [], 0
    for frame in frames:
        stored.append(GOOD.pack[offset : offset + frame.size])
        offset += frame.size
    number = changed[0][1] % len(frames)
    stored[number] = mutated(stored[number], changed)
    if not stored[number]:
        return
    frames[number] = frames[number]._replace(sha256=hashlib.sha256(stored[number]).digest(), size=len(stored[number]))
    images = [(image.role, image.size, list(index.windows(at))) for at, image in enumerate(index.images)]
    idx, pack = indexwriter.encode(images, frames), b"".join(stored)
    named = description.parse(GOOD.description)._replace(idx=file_of(idx), pack=file_of(pack))
    with contextlib.suppress(REFUSALS):
        assert read(GOOD._replace(idx=idx, pack=pack), named) == 4
