"""Writes release.idx."""

from collections.abc import Iterable, Sequence

from manageboot.release import layout
from manageboot.release.layout import Frame, Window


def encode(images: Sequence[tuple[str, int, Sequence[Window]]], frames: Sequence[Frame]) -> bytes:
    """Write an index; the same content always gives the same bytes.

    Args:
        images: role, size in bytes, and the windows that are not all zeros, in order.
        frames: in the order in which they lie in the pack.
    """
    windows = [window for _, _, windows in images for window in windows]
    header = layout.HEADER.pack(
        layout.MAGIC,
        layout.VERSION,
        len(images),
        len(frames),
        len(windows),
        sum(len(window.operations) for window in windows),
        sum(frame.size for frame in frames),
    )
    rows = [
        header,
        *(layout.IMAGE_ROW.pack(role.encode(), size, len(windows)) for role, size, windows in images),
        *(layout.FRAME_ROW.pack(*frame) for frame in frames),
        *(layout.WINDOW_ROW.pack(window.sha256, window.number, len(window.operations)) for window in windows),
        *_operations(windows),
    ]
    return b"".join(rows)


def _operations(windows: Iterable[Window]) -> Iterable[bytes]:
    for window in windows:
        for blocks, frame, first in window.operations:
            code = layout.ZERO if frame is None else layout.REPLACE
            yield layout.OPERATION_ROW.pack(code, blocks, first, frame or 0)
