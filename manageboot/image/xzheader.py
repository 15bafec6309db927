"""How much memory an xz stream needs, from its first bytes: the decompressor only says that it may not have as much.

Source: The .xz File Format, version 1.2.1, sections 2.1.1, 3.1 and 5.3.
"""

HEADER_BYTES = 12 + 1024
"""The stream header and the largest block header."""

_STREAM_HEADER_BYTES = 12
_LZMA2 = 0x21
_HAS_COMPRESSED_SIZE, _HAS_SIZE = 0x40, 0x80
_FILTER_COUNT = 0x03
_LARGEST_CODE = 40
_DECODER_BYTES = 1 << 20  # what the decoder needs beside the dictionary, rounded up


def memory_needed(start: bytes) -> int | None:
    """Return how many bytes of memory the first block of an xz stream needs; None where its header does not tell.

    Args:
        start: the first HEADER_BYTES of the stream, or as many as there are.
    """
    block = start[_STREAM_HEADER_BYTES:]
    if len(block) < 2:
        return None
    flags = block[1]
    try:
        at = 2
        for bit in (_HAS_COMPRESSED_SIZE, _HAS_SIZE):
            if flags & bit:
                _size, at = _number(block, at)
        for _ in range((flags & _FILTER_COUNT) + 1):
            kind, at = _number(block, at)
            length, at = _number(block, at)
            if kind == _LZMA2 and length == 1 and block[at] <= _LARGEST_CODE:
                return _dictionary_size(block[at]) + _DECODER_BYTES
            at += length
    except IndexError:
        pass
    return None


def _dictionary_size(code: int) -> int:
    return min((2 | code & 1) << (code // 2 + 11), (1 << 32) - 1)


def _number(block: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, the lowest first; return where it ends as well."""
    value = shift = 0
    while True:
        byte = block[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
