"""Writes from-OLD.idx."""

from array import array
from collections.abc import Iterable, Iterator, Sequence

from manageboot.release.deltacolumns import swapped
from manageboot.release.deltalayout import HEADER, MAGIC, VERSION, Extent, Operation, distances
from manageboot.release.layout import Frame

LEVEL = 19
"""Of zstd, for the columns."""


def encode(windows: Sequence[Sequence[Operation]], frames: Sequence[tuple[Frame, Sequence[Extent]]]) -> bytes:
    """Write the index of a delta; the same content always gives the same bytes.

    Args:
        windows: the operations of each window of release.idx, in its order.
        frames: in the order in which they lie in the pack, each with the extents of its dictionary.
    """
    import zstandard

    operations = [operation for window in windows for operation in window]
    extents = [extent for _, dictionary in frames for extent in dictionary]
    columns = b"".join(
        swapped(array(form, numbers)).tobytes() for form, numbers in _columns(windows, operations, frames, extents)
    )
    header = HEADER.pack(
        MAGIC,
        VERSION,
        len(windows),
        len(frames),
        len(operations),
        len(extents),
        sum(frame.size for frame, _ in frames),
        len(columns),
    )
    hashes = b"".join(frame.sha256 for frame, _ in frames)
    return header + hashes + zstandard.ZstdCompressor(level=LEVEL).compress(columns)


def _columns(
    windows: Sequence[Sequence[Operation]],
    operations: Sequence[Operation],
    frames: Sequence[tuple[Frame, Sequence[Extent]]],
    extents: Sequence[Extent],
) -> Iterator[tuple[str, Iterable[int]]]:
    """Give the columns in their order: the size of their numbers, as `array` calls it, and the numbers."""
    copies = [operation for operation in operations if operation.extent is not None]
    taken = [operation for operation in operations if operation.frame is not None]
    yield "H", (len(window) for window in windows)
    yield "B", (operation.code for operation in operations)
    yield "H", (operation.blocks for operation in operations)
    yield "B", (operation.origin for operation in copies)
    yield "I", distances((operation.first, operation.blocks) for operation in copies)
    yield "I", distances((operation.origin, 0) for operation in taken)
    yield "H", (operation.first for operation in taken)
    yield "I", (frame.size for frame, _ in frames)
    yield "H", (frame.blocks for frame, _ in frames)
    yield "H", (len(dictionary) for _, dictionary in frames)
    yield "B", (extent.image for extent in extents)
    yield "I", distances((extent.first, extent.blocks) for extent in extents)
    yield "H", (extent.blocks for extent in extents)
