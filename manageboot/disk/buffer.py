"""Memory for direct I/O: buffers that start on a page, and comparing them where they are, without a copy."""

import ctypes
import mmap

_memcmp = ctypes.CDLL(None).memcmp  # releases Python's lock while it runs
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcmp.restype = ctypes.c_int

_PROBE_BYTES = 64
_ALIGNMENT_BYTES = 4096
"""That of the largest block that devices have; a page may be larger."""

_ZEROS = memoryview(mmap.mmap(-1, 1 << 20))


def aligned_buffer(size: int) -> mmap.mmap:
    """Make a buffer that starts on a page, as direct I/O wants it; size in bytes."""
    return mmap.mmap(-1, size)


def is_aligned(view: memoryview) -> bool:
    """Return whether any device may fill a buffer, contiguous and writable, past the page cache."""
    return not len(view) or _address(view) % _ALIGNMENT_BYTES == 0


def equal(one: memoryview, other: memoryview) -> bool:
    """Return whether two buffers, each contiguous and writable, hold the same bytes."""
    if len(one) != len(other):
        return False
    return not len(one) or not _memcmp(_address(one), _address(other), len(one))


def all_zeros(view: memoryview) -> bool:
    """Return whether a buffer, contiguous and writable, holds zeros only."""
    # Data shows it at once, nearly always.
    if view[:_PROBE_BYTES].tobytes().strip(b"\0"):
        return False
    step = len(_ZEROS)
    pieces = (view[start : start + step] for start in range(0, len(view), step))
    return all(equal(piece, _ZEROS[: len(piece)]) for piece in pieces)


def _address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))
