"""Makes pack and index out of images; however many threads compress, the bytes are the same."""

import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import local
from typing import NamedTuple, Self

from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.image import Member
from manageboot.image.acceptance import Whole
from manageboot.publish.cutting import Cutter
from manageboot.publish.outfile import OutFile
from manageboot.release import indexwriter
from manageboot.release.layout import BLOCK_BYTES, Frame, Window


class PackedImage(NamedTuple):
    """An image that is in the pack."""

    role: str
    whole: Whole
    windows: list[Window]


class Packer:
    """Packs images, one after the other; a context manager that ends its threads."""

    def __init__(self, pack: OutFile, *, level: int, threads: int, report: Callable[[], None]) -> None:
        """Pack into a file.

        Args:
            pack: where the frames go.
            level: of zstd.
            threads: how many compress.
            report: is called after each window.
        """
        self.images: list[PackedImage] = []
        self._pack = pack
        self._level = level
        self._report = report
        self._cutter = Cutter()
        self._frames: list[Frame] = []
        self._pool = ThreadPoolExecutor(threads)
        self._pending: deque[tuple[int, Future[bytes]]] = deque()
        self._pending_max = 2 * threads + 1
        self._compressor = local()

    def add(self, role: str, member: Member) -> None:
        """Pack an image; holes are stepped over.

        Raises:
            DataError, DeviceError: the image is bad, or reading or writing failed.
        """
        digest, windows = ImageDigest(), []
        buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        offset = 0
        while (offset := offset + member.skip_hole(WINDOW_BYTES)) < member.size:
            window = buffer[: min(WINDOW_BYTES, member.size - offset)]
            member.readinto(window)
            sha256 = digest.add(offset, window)
            if sha256 is not None:
                padded = -(-len(window) // BLOCK_BYTES) * BLOCK_BYTES
                buffer[len(window) : padded] = bytes(padded - len(window))
                operations, data = self._cutter.cut(buffer[:padded])
                if data:
                    self._submit(data)
                windows.append(Window(offset // WINDOW_BYTES, sha256, operations))
            offset += len(window)
            self._report()
        whole = Whole(member.size, not windows, digest.hexdigest(member.size))
        self.images.append(PackedImage(role, whole, windows))

    def finish(self) -> bytes:
        """Write what is still being compressed, and return the index."""
        while self._pending:
            self._write()
        images = [(image.role, image.whole.size, image.windows) for image in self.images]
        return indexwriter.encode(images, self._frames)

    def _submit(self, data: bytes) -> None:
        self._pending.append((len(data) // BLOCK_BYTES, self._pool.submit(self._compress, data)))
        if len(self._pending) > self._pending_max:
            self._write()

    def _compress(self, data: bytes) -> bytes:
        import zstandard

        # One that has a context for each thread.
        if not hasattr(self._compressor, "zstd"):
            self._compressor.zstd = zstandard.ZstdCompressor(level=self._level)
        stored: bytes = self._compressor.zstd.compress(data)
        return stored

    def _write(self) -> None:
        blocks, pending = self._pending.popleft()
        stored = pending.result()
        self._frames.append(Frame(hashlib.sha256(stored).digest(), len(stored), blocks))
        self._pack.write(stored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
