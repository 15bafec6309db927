"""Why a delta is larger than it need be, where the way that the images were built is the reason.

Two things cost most. What is compressed in an image changes as a whole when little changes in it: kernels, initramfs
images, modules. And an image that was built anew may have other times, or other checksums, in each of its inodes.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from manageboot.install import progress
from manageboot.install.progress import Counts, Style
from manageboot.publish import spending
from manageboot.publish.content import Content
from manageboot.publish.ext4 import Ext4, File
from manageboot.publish.spending import Ranges, Spending
from manageboot.release.delta import DeltaIndex
from manageboot.release.layout import BLOCK_BYTES
from manageboot.system.text import one_line

_TOLD_PERCENT = 2
"""What takes less of a delta is not worth a word."""
_TOLD_BYTES = 4 << 10

_SAMPLE_PIECES = 64
"""So much new data of a file, in blocks, shows whether it is compressed."""
_PACKED_PERCENT = 80
"""What zlib makes no smaller than that was compressed before, or encrypted. Programs come to 25 to 65, LZ4 to 90."""
_MOST_PERCENT = 50
"""If more of the files that did not change have another time, it is the build that gives it, and no update."""


class _Image(NamedTuple):
    """An image of a new release."""

    content: Content
    spending: Spending
    system: Ext4 | None
    """What is in it, if it is ext4."""
    old: Content | None
    """That of the old release."""


class _Hint(NamedTuple):
    cost: float
    """In bytes of the pack."""
    what: str


def hints(old: Sequence[Content], new: Sequence[Content], delta: DeltaIndex, style: Style) -> Iterator[str]:
    """Say what makes a delta larger than it need be, each in a sentence that follows the size of the delta.

    Args:
        old: the images of the old release.
        new: those of the new one.
        delta: the index of the delta.
        style: how to show how far it is.
    """
    least = max(_TOLD_BYTES, delta.pack_size * _TOLD_PERCENT // 100)
    for number, content in enumerate(new):
        if spending.total(delta, number) < least:
            continue
        with progress.step("explain", None, style) as meter:
            spent = Spending(delta, number, old, content, lambda done: meter.update(Counts(done)))
        before = next((one for one in old if one.role == content.role), None)
        image = _Image(content, spent, _ext4(content), before)
        for hint in (_packed(image), *_inodes(image, least)):
            if hint.cost >= least:
                yield f"{100 * hint.cost / delta.pack_size:.0f} % of that are for {hint.what}"


def _packed(image: _Image) -> _Hint:
    """Say of compressed data what it costs, and what it is."""
    role = image.content.role
    if image.system is None:
        everything = [(0, len(image.content.bytes))]
        cost = image.spending.of(everything) if _is_packed(image, everything) else 0
        return _Hint(cost, f"{role}, whose new data seems to be compressed")
    packed = [
        (cost, path)
        for path, file in image.system.files.items()
        if (cost := image.spending.of(file.extents)) and _is_packed(image, file.extents)
    ]
    if not packed:
        return _Hint(0, "")
    _, largest = max(packed)
    others = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
    files = f"files of {role} whose new data seems to be compressed: {one_line(largest)}{others}"
    return _Hint(sum(cost for cost, _ in packed), files)


def _is_packed(image: _Image, ranges: Ranges) -> bool:
    """Tell whether the new data of a part is compressed."""
    pieces = image.spending.new(ranges)
    # With small blocks of its own, a file may share its first and its last block here with a neighbour that changed.
    if all(length < BLOCK_BYTES for _, length in pieces) and _size(pieces) < _size(ranges):
        return False
    chosen = pieces[:: -(-len(pieces) // _SAMPLE_PIECES) or 1]
    sample = b"".join(image.content.bytes[begin : begin + length] for begin, length in chosen)
    return 100 * len(zlib.compress(sample, 1)) >= _PACKED_PERCENT * len(sample) > 0


def _size(ranges: Ranges) -> int:
    return sum(length for _, length in ranges)


def _inodes(image: _Image, least: int) -> Iterator[_Hint]:
    """Say what inodes cost that are other ones for no good reason, and for which reason."""
    if image.system is None or image.old is None:
        return
    cost = image.spending.of(image.system.inode_ranges)
    # The files need not be compared for what is not told.
    if cost < least or (before := _ext4(image.old)) is None:
        return
    causes = list(_other_times(image, image.system, image.old, before))
    if None not in (seeds := {image.system.checksum_seed, before.checksum_seed}) and len(seeds) > 1:
        seed = "the UUID of the file system" if image.system.is_seed_uuid else "the seed of their checksums"
        causes.append(f"{seed} is another one, and so are their checksums")
    if causes:
        yield _Hint(cost, f"the inodes of {image.content.role}: {'; '.join(causes)}")


def _other_times(image: _Image, system: Ext4, old: Content, before: Ext4) -> Iterator[str]:
    """Say which times most of the files have anew that did not change."""
    same = [
        (file, there)
        for path, file in system.files.items()
        if (there := before.files.get(path)) is not None and _is_same(image.content, file, old, there)
    ]
    changed = [{name for name in file.times if file.times[name] != there.times[name]} for file, there in same]
    most = len(same) * _MOST_PERCENT / 100
    names = {name for name in ("mtime", "ctime", "crtime", "atime") if sum(name in one for one in changed) > most}
    if names:
        count = sum(names <= one for one in changed)
        yield f"{count} of {len(same)} files that did not change have another {' and '.join(sorted(names))}"


def _is_same(new: Content, file: File, old: Content, there: File) -> bool:
    """Tell whether a file was the same before; one that lies in other pieces is taken for another."""
    if file.size != there.size or [length for _, length in file.extents] != [length for _, length in there.extents]:
        return False
    return all(
        np.array_equal(_data(new, begin, length), _data(old, at, length))
        for (begin, length), (at, _) in zip(file.extents, there.extents, strict=True)
    )


def _data(content: Content, begin: int, length: int) -> "np.ndarray[tuple[int], np.dtype[np.uint8]]":
    return np.frombuffer(content.bytes, np.uint8, length, begin)


def _ext4(content: Content) -> Ext4 | None:
    """Return the file system of an image; None, if it is no ext4 that can be read."""
    try:
        return Ext4(content.bytes)
    except ValueError:
        return None
