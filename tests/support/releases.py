"""Make small releases without the builder, and watch what reaches a decompressor."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import zstandard

from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.release import description, indexwriter
from manageboot.release.description import File, Image, Release, Requirements
from manageboot.release.layout import BLOCK_BYTES, Frame, Operation, Window

ARCHIVE = b"the classic archive, which nobody opens here"


class Small(NamedTuple):
    """A release as the bytes of its files."""

    description: bytes
    idx: bytes
    pack: bytes
    archive: bytes = ARCHIVE
    deltas: dict[str, bytes] = {}  # noqa: RUF012  nobody changes it

    def write(self, directory: Path) -> None:
        """Put the files into a directory, as they are published."""
        directory.mkdir(parents=True)
        (directory / description.NAME).write_bytes(self.description)
        (directory / description.INDEX).write_bytes(self.idx)
        (directory / description.PACK).write_bytes(self.pack)
        (directory / description.ARCHIVES[0]).write_bytes(self.archive)
        for name, content in self.deltas.items():
            (directory / name).write_bytes(content)


def small_release(
    images: dict[str, bytes],
    *,
    version: str = "1.0",
    release_index: int = 1,
    min_index: int = 0,
    built: int | None = None,
    requires: Requirements | None = None,
) -> Small:
    """Make a release of images: a frame for each window with data, in which blocks of zeros are left out."""
    frames: list[Frame] = []
    stored: list[bytes] = []
    rows = []
    described = []
    for role, content in images.items():
        digest, windows = ImageDigest(), []
        for offset in range(0, len(content), WINDOW_BYTES):
            window = content[offset : offset + WINDOW_BYTES]
            sha256 = digest.add(offset, memoryview(bytearray(window)))
            if sha256 is None:
                continue
            operations, data = _cut(window, len(frames))
            frame = zstandard.ZstdCompressor(level=3).compress(data)
            stored.append(frame)
            frames.append(Frame(hashlib.sha256(frame).digest(), len(frame), len(data) // BLOCK_BYTES))
            windows.append(Window(offset // WINDOW_BYTES, sha256, operations))
        rows.append((role, len(content), windows))
        described.append(Image(role, len(content), digest.hexdigest(len(content))))
    pack, idx = b"".join(stored), indexwriter.encode(rows, frames)
    release = Release(
        version=version,
        release_index=release_index,
        min_index=min_index,
        built=built,
        requires=requires or Requirements(),
        images=tuple(described),
        archive_name=description.ARCHIVES[0],
        archive=file_of(ARCHIVE),
        idx=file_of(idx),
        pack=file_of(pack),
    )
    return Small(description.encode(release), idx, pack)


def file_of(content: bytes) -> File:
    return File(len(content), hashlib.sha256(content).hexdigest())


def _cut(window: bytes, frame: int) -> tuple[tuple[Operation, ...], bytes]:
    operations: list[Operation] = []
    data = bytearray()
    for at in range(0, len(window), BLOCK_BYTES):
        block = window[at : at + BLOCK_BYTES].ljust(BLOCK_BYTES, b"\0")
        first = len(data) // BLOCK_BYTES
        number = frame if any(block) else None
        if operations and operations[-1].frame == number:
            operations[-1] = operations[-1]._replace(blocks=operations[-1].blocks + 1)
        else:
            operations.append(Operation(1, number, first if number is not None else 0))
        if number is not None:
            data += block
    return tuple(operations), bytes(data)


class Decompressed:
    """What a decompressor of zstd got, whole inputs only."""

    def __init__(self) -> None:
        self.sha256: list[bytes] = []
        self.bytes = 0

    def unverified(self, named: set[bytes]) -> int:
        """How many of the inputs are none whose SHA-256 is among these."""
        return sum(sha256 not in named for sha256 in self.sha256)

    def take(self, data: bytes) -> None:
        self.sha256.append(hashlib.sha256(data).digest())
        self.bytes += len(data)


@contextmanager
def watched_decompressor() -> Iterator[Decompressed]:
    """Write down what zstd is given, be it to decompress it or to look at its header."""
    seen = Decompressed()
    real, parameters = zstandard.ZstdDecompressor, zstandard.get_frame_parameters

    class Watched:
        def __init__(self, *arguments: Any, **named: Any) -> None:
            self._real = real(*arguments, **named)

        def decompress(self, data: bytes, **named: Any) -> bytes:
            seen.take(data)
            return self._real.decompress(data, **named)

    def look(data: bytes) -> zstandard.FrameParameters:
        seen.take(data)
        return parameters(data)

    with (
        mock.patch.object(zstandard, "ZstdDecompressor", Watched),
        mock.patch.object(zstandard, "get_frame_parameters", look),
    ):
        yield seen
