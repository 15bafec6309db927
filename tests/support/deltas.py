"""Make small deltas without the builder: every operation occurs, and nothing is searched for."""

import hashlib
import random

import zstandard

from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release import deltawriter, description
from manageboot.release.deltalayout import Extent, Operation
from manageboot.release.description import Delta
from manageboot.release.index import verified
from manageboot.release.layout import BLOCK_BYTES, COPY, PATCH, REPLACE, WINDOW_BLOCKS, ZERO, Frame, Image
from support.releases import Small, file_of

Images = dict[str, bytes]


def with_delta(
    new: Small, new_images: Images, old: Small, old_images: Images, *, dictionary_blocks: int | None = None
) -> Small:
    """Add a delta from an old release to a new one.

    Blocks that the old images have anywhere are copied. The others of a window are in a frame of its own; the
    dictionary is the two halves of what the old image has at the same place, the second half first; or so many blocks
    of it around that place.
    """
    release, seed = description.parse(new.description), description.parse(old.description)
    known: dict[bytes, Extent] = {}
    for number, image in enumerate(seed.images):
        for at, block in enumerate(_blocks(old_images[image.role])):
            known.setdefault(block, Extent(number, at, 1))
    windows: list[list[Operation]] = []
    frames: list[tuple[Frame, list[Extent]]] = []
    stored: list[bytes] = []
    index = verified(new.idx, release)
    for at, image in enumerate(index.images):
        for window in index.windows(at):
            content = _content(new_images, image, window.number)
            roles = [one.role for one in seed.images]
            dictionary = _dictionary(old_images, roles, image.role, window.number, dictionary_blocks)
            operations, data = _cut(content, known, len(frames), PATCH if dictionary else REPLACE)
            windows.append(operations)
            if data:
                stored.append(_packed(data, b"".join(extent_of(seed.images, old_images, one) for one in dictionary)))
                frame = Frame(hashlib.sha256(stored[-1]).digest(), len(stored[-1]), len(data) // BLOCK_BYTES)
                frames.append((frame, dictionary))
    idx, pack = deltawriter.encode(windows, frames), b"".join(stored)
    sha256 = hashlib.sha256(old.description).hexdigest()
    delta = Delta(seed.version, seed.release_index, sha256, seed.images, file_of(idx), file_of(pack))
    release = release._replace(deltas=(*release.deltas, delta))
    files = {**new.deltas, delta.idx_name: idx, delta.pack_name: pack}
    return new._replace(description=description.encode(release), deltas=files)


def changed(old: Images, dice: random.Random) -> Images:
    """Make new images out of old ones: some blocks of the root come again, some change a little, and some are new."""
    new = {role: bytearray(content) for role, content in old.items()}
    moved = old["root"][8192 : 8192 + 3 * BLOCK_BYTES]
    for content in new.values():
        for at in range(0, len(content) - 20 * BLOCK_BYTES, 96 * BLOCK_BYTES):
            content[at + 5 * BLOCK_BYTES + 17] ^= 1
            content[at + 7 * BLOCK_BYTES : at + 8 * BLOCK_BYTES] = dice.randbytes(BLOCK_BYTES)
            content[at + 9 * BLOCK_BYTES : at + 9 * BLOCK_BYTES + len(moved)] = moved
            content[at + 13 * BLOCK_BYTES : at + 14 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
    return {role: bytes(content) for role, content in new.items()}


def extent_of(images: tuple[description.Image, ...], contents: Images, extent: Extent) -> bytes:
    """Return the blocks of an extent of old images."""
    begin = extent.first * BLOCK_BYTES
    content = contents[images[extent.image].role][begin : begin + extent.blocks * BLOCK_BYTES]
    return content.ljust(extent.blocks * BLOCK_BYTES, b"\0")


def _blocks(content: bytes) -> list[bytes]:
    return [content[at : at + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0") for at in range(0, len(content), BLOCK_BYTES)]


def _content(images: Images, image: Image, number: int) -> bytes:
    begin = number * WINDOW_BYTES
    return images[image.role][begin : begin + image.length(number)]


def _dictionary(old: Images, roles: list[str], role: str, number: int, around: int | None) -> list[Extent]:
    if role not in roles:
        return []
    if around is not None:
        blocks = len(_blocks(old[role]))
        start = max(0, min(number * WINDOW_BLOCKS - around // 2, blocks - around))
        return [Extent(roles.index(role), start, min(around, blocks))]
    count = len(_blocks(old[role][number * WINDOW_BYTES : (number + 1) * WINDOW_BYTES]))
    first, half = number * WINDOW_BYTES // BLOCK_BYTES, count // 2
    runs = [(first + half, count - half), (first, half)]
    return [Extent(roles.index(role), start, blocks) for start, blocks in runs if blocks]


def _cut(content: bytes, known: dict[bytes, Extent], frame: int, code: int) -> tuple[list[Operation], bytes]:
    operations: list[Operation] = []
    data = b""
    for block in _blocks(content):
        if not any(block):
            one = Operation(ZERO, 1)
        elif block in known:
            one = Operation(COPY, 1, known[block].image, known[block].first)
        else:
            one = Operation(code, 1, frame, len(data) // BLOCK_BYTES)
            data += block
        last = operations[-1] if operations else None
        if last and (last.code, last.origin) == (one.code, one.origin) and one.first in {0, last.first + last.blocks}:
            operations[-1] = last._replace(blocks=last.blocks + 1)
        else:
            operations.append(one)
    return operations, data


def _packed(data: bytes, dictionary: bytes) -> bytes:
    if not dictionary:
        return zstandard.ZstdCompressor(level=3).compress(data)
    raw = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=23, hash_log=20, chain_log=20)
    return zstandard.ZstdCompressor(dict_data=raw, compression_params=parameters).compress(data)
