"""The digest of an image: the same for a sparse and a dense one, and able to say where two differ.

An image is cut into windows of 1 MiB. Each window that holds anything but zeros has a SHA-256 of its own; the digest of
the image is the SHA-256 over its size and, for each such window in order, its offset and its SHA-256 (the numbers as
64 bits, little-endian). Windows of zeros cost nothing, so ten gigabytes of holes need not be hashed.
"""

import hashlib
import struct

from manageboot.disk.buffer import all_zeros

WINDOW_BYTES = 1 << 20


class ImageDigest:
    """The SHA-256 of each window of one image that is not all zeros."""

    def __init__(self) -> None:
        self.windows: dict[int, bytes] = {}

    def add(self, offset: int, window: memoryview, sha256: bytes | None = None) -> bytes | None:
        """Hash one window, at a multiple of WINDOW_BYTES; only the last one of an image may be shorter.

        Args:
            offset: of the window, in bytes.
            window: what it holds.
            sha256: its SHA-256, where whoever read the window has compared it; None: it is not known yet.

        Returns:
            Its SHA-256; or None for zeros only, which add nothing.
        """
        if all_zeros(window):
            return None
        self.windows[offset] = digest = sha256 or window_digest(window)
        return digest

    def hexdigest(self, size: int) -> str:
        """Return the digest of the image, in hexadecimal; size in bytes."""
        total = hashlib.sha256(struct.pack("<Q", size))
        for offset in sorted(self.windows):
            total.update(struct.pack("<Q", offset) + self.windows[offset])
        return total.hexdigest()

    def sample(self, most: int) -> dict[int, str]:
        """Return the SHA-256 of some windows with data, by offset: the first, the last, and others evenly between.

        Args:
            most: how many, two at least.
        """
        offsets = sorted(self.windows)
        if len(offsets) > most:
            offsets = [offsets[index * (len(offsets) - 1) // (most - 1)] for index in range(most)]
        return {offset: self.windows[offset].hex() for offset in offsets}


def window_digest(window: memoryview) -> bytes:
    """Return the SHA-256 of one window."""
    return hashlib.sha256(window).digest()
