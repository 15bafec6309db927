"""Images that are worked on as a whole, to make or to check deltas: each in a file without a name, mapped."""

import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable

from manageboot import errors
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.image import Member
from manageboot.publish.packfile import PackFile
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index
from manageboot.release.layout import BLOCK_BYTES
from manageboot.release.windows import WindowReader


class Content:
    """The bytes of an image, in whole blocks: the last one is filled with zeros."""

    def __init__(self, role: str, size: int, directory: str) -> None:
        """Make an image of zeros.

        Args:
            role: of the image.
            size: in bytes.
            directory: where its file takes room; it is gone when nobody uses the image any more.

        Raises:
            CreateError, DeviceError, NotPermittedError: it can't be made.
        """
        self.role = role
        self.blocks = -(-size // BLOCK_BYTES)
        self.windows: list[int] = []
        """The numbers of those that are not all zeros."""
        try:
            with tempfile.TemporaryFile(dir=directory) as file:
                file.truncate(self.blocks * BLOCK_BYTES)
                self._map = mmap.mmap(file.fileno(), self.blocks * BLOCK_BYTES, prot=mmap.PROT_READ)
                self._descriptor = os.dup(file.fileno())
        except OSError as error:
            raise errors.from_os_error(error, f"make a file in {directory}", errors.CreateError) from error
        weakref.finalize(self, os.close, self._descriptor)
        self.bytes = memoryview(self._map)

    def put(self, number: int, window: memoryview) -> None:
        """Write a window that is not all zeros; they come in order.

        Raises:
            DeviceError: there is no room for it, or writing failed.
        """
        # Not through the map: a disk that is full would end the process there.
        done = 0
        try:
            while done < len(window):
                done += os.pwrite(self._descriptor, window[done:], number * WINDOW_BYTES + done)
        except OSError as error:
            raise errors.from_os_error(error, f"write the unpacked image of {self.role}") from error
        self.windows.append(number)

    def window(self, number: int) -> memoryview:
        """Return a window, in whole blocks."""
        return self.bytes[number * WINDOW_BYTES : (number + 1) * WINDOW_BYTES]

    def extent(self, first: int, blocks: int) -> memoryview:
        """Return some blocks."""
        return self.bytes[first * BLOCK_BYTES : (first + blocks) * BLOCK_BYTES]


def from_pack(index: Index, path: str, directory: str, report: Callable[[int], None]) -> list[Content]:
    """Unpack the images of a release, each window verified.

    Args:
        index: of the release.
        path: of its pack.
        directory: where the files of the images take room.
        report: is called with the bytes of the pack that were read.

    Raises:
        ReleaseDigestError, ReleaseFormatError: a frame or a window is not what the index says.
        InputError, CreateError, NotPermittedError, DeviceError: something can't be read or made.
    """
    contents = []
    with PackFile(path) as pack:
        reader = WindowReader(index, pack.read, Unpacker(index, path))
        buffer = memoryview(aligned_buffer(WINDOW_BYTES))
        for number, image in enumerate(index.images):
            content = Content(image.role, image.size, directory)
            for window in index.windows(number):
                reader.fill(image, window, buffer)
                content.put(window.number, buffer[: image.length(window.number)])
                report(index.offsets[max(one.frame for one in window.operations if one.frame is not None)])
            contents.append(content)
    return contents


def from_members(
    members: Iterable[Member], directory: str, report: Callable[[], None]
) -> list[tuple[Content, int, str]]:
    """Unpack images of an update image.

    Args:
        members: the images, as they come.
        directory: where their files take room.
        report: is called after each window.

    Returns:
        Each image, its size in bytes and its digest.

    Raises:
        DataError, CreateError, NotPermittedError, DeviceError: an image is bad, or can't be read or unpacked.
    """
    found = []
    buffer = memoryview(aligned_buffer(WINDOW_BYTES))
    for member in members:
        content, digest, offset = Content(member.name.removesuffix(".img"), member.size, directory), ImageDigest(), 0
        while (offset := offset + member.skip_hole(WINDOW_BYTES)) < member.size:
            window = buffer[: min(WINDOW_BYTES, member.size - offset)]
            member.readinto(window)
            if digest.add(offset, window) is not None:
                content.put(offset // WINDOW_BYTES, window)
            offset += len(window)
            report()
        found.append((content, member.size, digest.hexdigest(member.size)))
    return found
