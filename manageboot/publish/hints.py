"""Why a delta is larger than it need be, where the way that the images were built is the reason.

Two things cost most. What is compressed in an image changes as a whole when little changes in it: kernels, initramfs
images, modules. And an image that was built anew may have other times, or another UUID, in each of its inodes.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from manageboot.publish.content import Content
from manageboot.publish.ext4 import Ext4, File
from manageboot.publish.spending import Ranges, Spending
from manageboot.release.delta import DeltaIndex

_TOLD_PERCENT = 2
"""What takes less of a delta is not worth a word."""
_TOLD_BYTES = 4 << 10

_SAMPLE_BLOCKS = 64
"""So much new data of a file shows whether it is compressed."""
_PACKED_PERCENT = 80
"""What zlib makes no smaller than that was compressed before, or encrypted. Programs come to 25 to 65, LZ4 to 90."""
_UNCHANGED_PERCENT = 50
"""If more of the files that did not change have other times, it is the build that gives them, and no update."""


class _Image(NamedTuple):
    """An image of a new release."""

    content: Content
    spending: Spending
    system: Ext4 | None
    """What is in it, if it is ext4."""
    before: Ext4 | None
    """What was in that of the old release."""


def hints(old: Sequence[Content], new: Sequence[Content], delta: DeltaIndex) -> Iterator[str]:
    """Say what makes a delta larger than it need be, each in a sentence that follows the size of the delta.

    Args:
        old: the images of the old release.
        new: those of the new one.
        delta: the index of the delta.
    """
    least = max(_TOLD_BYTES, delta.pack_size * _TOLD_PERCENT // 100)
    systems = {content.role: _ext4(content) for content in old}
    for number, content in enumerate(new):
        image = _Image(content, Spending(delta, number, content.blocks), _ext4(content), systems.get(content.role))
        for cost, what in (_packed(image), _inodes(image)):
            if cost >= least:
                yield f"{cost} bytes of that, {100 * cost / delta.pack_size:.0f} %, are for {what}"


def _packed(image: _Image) -> tuple[int, str]:
    """Return what compressed data costs, and what it is."""
    role, spending = image.content.role, image.spending
    if image.system is None:
        everything = [(0, len(image.content.bytes))]
        return _cost_if_packed(image, everything), f"{role}, whose new data seems to be compressed"
    files = list(image.system.files())
    costs = spending.of([file.extents for file in files])
    packed = [
        (cost, file.number)
        for file, most in zip(files, costs, strict=True)
        if most > 0 and (cost := _cost_if_packed(image, file.extents))
    ]
    if not packed:
        return 0, ""
    _, largest = max(packed)
    others = f" and {len(packed) - 1} more" if len(packed) > 1 else ""
    name = image.system.paths().get(largest, f"inode {largest}")
    return sum(cost for cost, _ in packed), f"files of {role} that seem to be compressed: {name}{others}"


def _cost_if_packed(image: _Image, ranges: Ranges) -> int:
    """Return what the new data of a part costs; 0, if it is not compressed."""
    blocks = image.spending.new_blocks(ranges)
    sample = b"".join(image.content.extent(one, 1) for one in blocks[:: -(-len(blocks) // _SAMPLE_BLOCKS) or 1])
    if not sample or 100 * len(zlib.compress(sample, 1)) < _PACKED_PERCENT * len(sample):
        return 0
    return round(image.spending.of([ranges])[0])


def _inodes(image: _Image) -> tuple[int, str]:
    """Return what inodes cost that are other ones for no good reason, and for which reason."""
    system, before = image.system, image.before
    if system is None or before is None:
        return 0, ""
    causes = []
    if system.uuid != before.uuid:
        causes.append("the UUID of the file system is another one")
    if (times := _other_times(image, system, before)) is not None:
        causes.append(times)
    cost = round(image.spending.of([system.inode_ranges])[0])
    return (cost, f"the inodes of {image.content.role}: {', and '.join(causes)}") if causes else (0, "")


def _other_times(image: _Image, system: Ext4, before: Ext4) -> str | None:
    """Say which times most of the files have anew that are there as they were."""
    paths = before.paths()
    old = {paths[file.number]: file for file in before.files() if file.number in paths}
    paths = system.paths()
    files = [file for file in system.files() if file.number in paths]
    costs = image.spending.of([file.extents for file in files])
    same: list[tuple[File, File]] = [
        (file, there)
        for file, cost in zip(files, costs, strict=True)
        if cost == 0 and (there := old.get(paths[file.number])) is not None and there.size == file.size
    ]
    changed = [{name for name in file.times if file.times[name] != there.times[name]} for file, there in same]
    count = sum(map(bool, changed))
    if 100 * count <= _UNCHANGED_PERCENT * len(same):
        return None
    names = sorted(set().union(*changed))
    return f"{count} of {len(same)} files that are as they were have another {' and '.join(names)}"


def _ext4(content: Content) -> Ext4 | None:
    """Return the file system of an image; None, if it is no ext4 that can be read."""
    try:
        return Ext4(content.bytes)
    except ValueError:
        return None
