"""What release.idx says: the windows of each image, and the frames of the pack that their data is in.

An index is judged as a whole before anything of it is used; then its rows are read where they lie, so that it takes no
more memory than the file.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence

from manageboot import errors
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest
from manageboot.release.description import IMAGE_BYTES_MAX, IMAGES_MAX, INDEX, INDEX_BYTES_MAX, ROLE, Release
from manageboot.release.layout import (
    BLOCK_BYTES,
    FRAME_BLOCKS_MAX,
    FRAME_BYTES_MAX,
    FRAME_ROW,
    HEADER,
    IMAGE_ROW,
    MAGIC,
    OPERATION_ROW,
    REPLACE,
    VERSION,
    WINDOW_FRAMES_MAX,
    WINDOW_ROW,
    ZERO,
    Frame,
    Image,
    Operation,
    Window,
)


class Index:
    """An index that was found good."""

    def __init__(self, content: bytes, name: str = INDEX) -> None:
        """Judge an index, whose SHA-256 the caller has checked.

        Args:
            content: the whole file.
            name: what messages call it.

        Raises:
            ReleaseTooNewError: it is of another version, or has an operation that this one does not know.
            ReleaseFormatError: it breaks a rule of docs/release-format.md.
        """
        self._name = name
        self._rows = memoryview(content).toreadonly()
        self._read_header()
        self.images = self._read_images()
        self.offsets = self._read_frames()
        """Where each frame begins in the pack, in bytes."""
        self._check_windows()

    def frame(self, number: int) -> Frame:
        """Return a frame."""
        return Frame(*FRAME_ROW.unpack_from(self._rows, self._frames_at + number * FRAME_ROW.size))

    def frames(self) -> Iterator[Frame]:
        """Give the frames in the order in which they lie in the pack, without a gap."""
        return (self.frame(number) for number in range(self.frame_count))

    def windows(self, image: int) -> Iterator[Window]:
        """Give the windows of an image, by its number in `images`, from its start to its end."""
        first = self.first_row(image)
        operation = self._starts[first] if self.images[image].windows else 0
        for row in range(first, first + self.images[image].windows):
            sha256, number, count = WINDOW_ROW.unpack_from(self._rows, self._windows_at + row * WINDOW_ROW.size)
            yield Window(number, sha256, tuple(self._operations(operation, count)))
            operation += count

    @property
    def window_count(self) -> int:
        """How many windows are listed, of all images."""
        count: int = self._window_count
        return count

    def first_row(self, image: int) -> int:
        """Return how many windows the images before this one have."""
        return sum(one.windows for one in self.images[:image])

    def window(self, row: int) -> tuple[int, Window]:
        """Return the number of an image, and a window of it, by its place among those of all images."""
        image = next(at for at in range(len(self.images)) if row < self.first_row(at + 1))
        sha256, number, count = WINDOW_ROW.unpack_from(self._rows, self._windows_at + row * WINDOW_ROW.size)
        return image, Window(number, sha256, tuple(self._operations(self._starts[row], count)))

    def digest(self, image: int) -> str:
        """Return the digest of an image, as disk.digest has it, from the SHA-256 of its windows."""
        whole = ImageDigest()
        whole.windows = {window.number * WINDOW_BYTES: window.sha256 for window in self.windows(image)}
        return whole.hexdigest(self.images[image].size)

    def _error(self, cause: str) -> errors.ReleaseFormatError:
        return errors.ReleaseFormatError(f"cannot read {self._name}: {cause}")

    def _read_header(self) -> None:
        if len(self._rows) < HEADER.size:
            raise self._error(f"it has {len(self._rows)} bytes, less than its header")
        if len(self._rows) > INDEX_BYTES_MAX:
            raise self._error(f"it has {len(self._rows)} bytes, and {INDEX_BYTES_MAX} are allowed")
        magic, version, images, frames, windows, operations, pack = HEADER.unpack_from(self._rows)
        if magic != MAGIC:
            raise self._error(f"it begins with {magic.hex()} instead of {MAGIC.hex()}")
        if version != VERSION:
            raise self._too_new(f"it is of version {version}, and this manageboot reads {VERSION}")
        if not 1 <= images <= IMAGES_MAX:
            raise self._error(f"it has {images} images, and 1 to {IMAGES_MAX} are allowed")
        self._image_count, self.frame_count, self._window_count, self._operation_count = (
            images,
            frames,
            windows,
            operations,
        )
        self.pack_size = pack
        self._frames_at = HEADER.size + images * IMAGE_ROW.size
        self._windows_at = self._frames_at + frames * FRAME_ROW.size
        self._operations_at = self._windows_at + windows * WINDOW_ROW.size
        expected = self._operations_at + operations * OPERATION_ROW.size
        if expected != len(self._rows):
            raise self._error(f"it has {len(self._rows)} bytes, and {expected} by its header")

    def _too_new(self, cause: str) -> errors.ReleaseTooNewError:
        return errors.ReleaseTooNewError(f"cannot read {self._name}: {cause}", hint="upgrade manageboot first")

    def _read_images(self) -> tuple[Image, ...]:
        images = []
        for at in range(HEADER.size, self._frames_at, IMAGE_ROW.size):
            padded, size, windows = IMAGE_ROW.unpack_from(self._rows, at)
            role = padded.rstrip(b"\0").decode("latin-1")
            if not ROLE.fullmatch(role):
                raise self._error(f"{role!r} is not the name of a role")
            if not 1 <= size <= IMAGE_BYTES_MAX:
                raise self._error(f"the image of {role} has {size} bytes, and 1 to {IMAGE_BYTES_MAX} are allowed")
            images.append(Image(role, size, windows))
        if len({image.role for image in images}) < len(images):
            raise self._error("a role is there twice")
        if sum(image.windows for image in images) != self._window_count:
            raise self._error("its images have another number of windows than its header says")
        return tuple(images)

    def _read_frames(self) -> Sequence[int]:
        offsets, end = array("Q"), 0
        for number, (_, size, blocks) in enumerate(
            FRAME_ROW.iter_unpack(self._rows[self._frames_at : self._windows_at])
        ):
            if not 1 <= size <= FRAME_BYTES_MAX:
                raise self._error(f"frame {number} has {size} bytes, and 1 to {FRAME_BYTES_MAX} are allowed")
            if not 1 <= blocks <= FRAME_BLOCKS_MAX:
                raise self._error(f"frame {number} has {blocks} blocks, and 1 to {FRAME_BLOCKS_MAX} are allowed")
            offsets.append(end)
            end += size
        if end != self.pack_size:
            raise self._error(f"its frames have {end} bytes, and the pack {self.pack_size}")
        return offsets

    def _operations(self, start: int, count: int) -> Iterator[Operation]:
        begin = self._operations_at + start * OPERATION_ROW.size
        rows = self._rows[begin : begin + count * OPERATION_ROW.size]
        for code, blocks, first, frame in OPERATION_ROW.iter_unpack(rows):
            yield Operation(blocks, None if code == ZERO else frame, first)

    def _check_windows(self) -> None:
        """Judge all windows and their operations."""
        rows = WINDOW_ROW.iter_unpack(self._rows[self._windows_at : self._operations_at])
        self._starts, operation = array("I"), 0
        self._used = bytearray(self.frame_count)
        for image in self.images:
            last = -1
            for _, (_, number, count) in zip(range(image.windows), rows, strict=False):
                what = f"window {number} of {image.role}"
                if number <= last:
                    raise self._error(f"{what} comes after window {last}")
                if number * WINDOW_BYTES >= image.size:
                    raise self._error(
                        f"{what} begins at the end of the image or after it, which has {image.size} bytes"
                    )
                if count > self._operation_count - operation:
                    raise self._error(
                        f"{what} has {count} operations, and {self._operation_count - operation} are left"
                    )
                self._check_operations(what, operation, count, -(-image.length(number) // BLOCK_BYTES))
                self._starts.append(operation)
                operation += count
                last = number
        if operation != self._operation_count:
            raise self._error(f"{self._operation_count - operation} operations belong to no window")
        if (unused := self._used.find(0)) >= 0:
            raise self._error(f"frame {unused} belongs to no window")

    def _check_operations(self, what: str, start: int, count: int, expected: int) -> None:
        """Judge the operations of a window of so many blocks."""
        begin = self._operations_at + start * OPERATION_ROW.size
        frames: set[int] = set()
        total = 0
        for code, blocks, first, frame in OPERATION_ROW.iter_unpack(
            self._rows[begin : begin + count * OPERATION_ROW.size]
        ):
            total += blocks
            if not blocks:
                raise self._error(f"{what} has an operation of no blocks")
            if code == REPLACE:
                if frame >= self.frame_count:
                    raise self._error(f"{what} needs frame {frame}, and there are {self.frame_count}")
                if first + blocks > (most := self.frame(frame).blocks):
                    raise self._error(
                        f"{what} needs blocks {first} to {first + blocks} of frame {frame}, which has {most}"
                    )
                frames.add(frame)
                self._used[frame] = 1
            elif code != ZERO:
                raise self._too_new(f"{what} has operation {code}, which version {VERSION} does not know")
            elif first or frame:
                raise self._error(f"{what} has zeros that come from a frame")
        if total != expected:
            raise self._error(f"the operations of {what} have {total} blocks, and the window {expected}")
        if not 1 <= len(frames) <= WINDOW_FRAMES_MAX:
            raise self._error(f"{what} needs {len(frames)} frames, and 1 to {WINDOW_FRAMES_MAX} are allowed")


def verified(content: bytes, release: Release, name: str = INDEX) -> Index:
    """Check an index against the release.json that names it, then judge it.

    Args:
        content: the whole file.
        release: what release.json says.
        name: what messages call it.

    Raises:
        ReleaseDigestError: it is not the file that release.json names; nothing of it was looked at.
        ReleaseTooNewError, ReleaseFormatError: as for Index, or it tells of another pack or of other images.
    """
    check_file(name, release.idx.size, release.idx.sha256, len(content), hashlib.sha256(content).hexdigest())
    index = Index(content, name)
    if index.pack_size != release.pack.size:
        cause = f"it is of a pack of {index.pack_size} bytes, and release.json of one of {release.pack.size}"
        raise errors.ReleaseFormatError(f"cannot read {name}: {cause}")
    ours = [(image.role, image.size, index.digest(at)) for at, image in enumerate(index.images)]
    if ours != list(release.images):
        raise errors.ReleaseFormatError(f"cannot read {name}: it is of other images than release.json")
    return index


def check_file(name: str, size: int, sha256: str, found_size: int, found_sha256: str) -> None:
    """Make sure that a file has the size and the SHA-256, in hexadecimal, that release.json says.

    Raises:
        ReleaseDigestError: it has not.
    """
    if size != found_size:
        raise errors.ReleaseDigestError(f"cannot read {name}: it has {found_size} bytes, and {size} were published")
    if sha256 != found_sha256:
        raise errors.ReleaseDigestError(
            f"cannot read {name}: its SHA-256 is {found_sha256}, and {sha256} was published"
        )
