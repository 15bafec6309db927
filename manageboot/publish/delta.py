"""Makes a delta: the index and the pack by which a node that has an old release gets the new one.

What the old images have is copied. The rest of each window becomes a frame, compressed with old data that is similar to
it as a dictionary. However many threads work, the bytes are the same.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from manageboot.install import progress
from manageboot.install.progress import Counts, Style
from manageboot.publish.content import Content
from manageboot.publish.outfile import OutFile
from manageboot.publish.planning import Plan, plans
from manageboot.publish.similar import OldUnits, Wanted
from manageboot.release import deltawriter
from manageboot.release.deltalayout import Extent, Operation
from manageboot.release.layout import BLOCK_BYTES, PATCH, REPLACE, WINDOW_BLOCKS, Frame

_TABLE_LOG = 22
"""Of the tables that zstd finds matches with: each byte of frame and dictionary has a place, at low levels too."""
_WINDOW_LOG = 23


class Way(NamedTuple):
    """How a delta is made; neither `threads` nor `style` changes a byte of it."""

    level: int
    """Of zstd."""
    dictionary_blocks: int
    """How much old data a frame may have as its dictionary."""
    threads: int
    style: Style


class _Made(NamedTuple):
    frame: Frame
    dictionary: tuple[Extent, ...]
    stored: bytes


def make(old: Sequence[Content], new: Sequence[Content], pack: OutFile, way: Way) -> bytes:
    """Write the pack of a delta, and return its index.

    Args:
        old: the images of the old release.
        new: those of the new one.
        pack: where the frames go.
        way: how.

    Raises:
        DeviceError, NotPermittedError: writing failed.
    """
    planned = _planned(old, new, way.style)
    framed = [plan for plan in planned if plan.frame is not None]
    frames: list[tuple[Frame, tuple[Extent, ...]]] = []
    pool = ThreadPoolExecutor(way.threads)
    try:
        units = _units(old, framed, pool)
        total, done = sum(plan.frame_bytes for plan in framed), 0
        with progress.step("delta", total, way.style) as meter:
            for plan, made in _in_order(pool, lambda plan: _make(plan, old, units, way), framed, 2 * way.threads + 1):
                frames.append((made.frame, made.dictionary))
                pack.write(made.stored)
                done += plan.frame_bytes
                meter.update(Counts(done, pack.size))
    finally:
        pool.shutdown(cancel_futures=True)
    patched = [bool(dictionary) for _, dictionary in frames]
    return deltawriter.encode([_finished(plan.operations, patched) for plan in planned], frames)


def _planned(old: Sequence[Content], new: Sequence[Content], style: Style) -> list[Plan]:
    total = sum(len(content.windows) for content in new) * WINDOW_BLOCKS * BLOCK_BYTES
    planned: list[Plan] = []
    with progress.step("compare", total, style) as meter:
        for plan in plans(old, new):
            planned.append(plan)
            meter.update(Counts(len(planned) * WINDOW_BLOCKS * BLOCK_BYTES))
    return planned


def _units(old: Sequence[Content], framed: Sequence[Plan], pool: ThreadPoolExecutor) -> OldUnits:
    wanted = Wanted()
    for _ in pool.map(lambda plan: wanted.add(plan.data()), framed):
        pass
    return OldUnits(old, wanted, pool.map)


def _make(plan: Plan, old: Sequence[Content], units: OldUnits, way: Way) -> _Made:
    import zstandard

    data = plan.data()
    dictionary = units.similar(data, way.dictionary_blocks)
    named = {"window_log": _WINDOW_LOG, "hash_log": _TABLE_LOG, "chain_log": _TABLE_LOG}
    size = sum(extent.blocks for extent in dictionary) * BLOCK_BYTES
    parameters = zstandard.ZstdCompressionParameters.from_level(
        way.level, source_size=len(data), dict_size=size, write_content_size=True, **named
    )
    raw = None
    if dictionary:
        content = b"".join(old[extent.image].extent(extent.first, extent.blocks) for extent in dictionary)
        raw = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stored = zstandard.ZstdCompressor(dict_data=raw, compression_params=parameters).compress(data)
    frame = Frame(hashlib.sha256(stored).digest(), len(stored), len(data) // BLOCK_BYTES)
    return _Made(frame, dictionary, stored)


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Plan], _Made], framed: Sequence[Plan], ahead: int
) -> Iterator[tuple[Plan, _Made]]:
    """Give what threads make, in order; only some of it is there at a time."""
    pending: deque[tuple[Plan, Future[_Made]]] = deque()
    for plan in framed:
        pending.append((plan, pool.submit(make, plan)))
        if len(pending) > ahead:
            first, future = pending.popleft()
            yield first, future.result()
    for first, future in pending:
        yield first, future.result()


def _finished(operations: Sequence[Operation], patched: Sequence[bool]) -> list[Operation]:
    """Say of each operation whether its frame has a dictionary."""
    return [
        operation._replace(code=PATCH) if operation.code == REPLACE and patched[operation.origin] else operation
        for operation in operations
    ]
