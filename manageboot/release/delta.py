"""What from-OLD.idx says: how the windows of a release come out of the images of an older one and the frames of a pack.

It is judged as a whole before anything of it is used. The windows and their SHA-256 are those of release.idx, so
a delta can be wrong, and nobody gets a wrong window by it.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, repeat

from manageboot import errors
from manageboot.release.deltacolumns import Columns
from manageboot.release.deltalayout import (
    COLUMNS_BYTES_MAX,
    DICTIONARY_BLOCKS_MAX,
    HEADER,
    MAGIC,
    SHA256_BYTES,
    VERSION,
    Extent,
    Operation,
    Window,
    starts,
)
from manageboot.release.description import INDEX_BYTES_MAX, Delta, Image
from manageboot.release.index import Index, check_file
from manageboot.release.layout import (
    BLOCK_BYTES,
    COPY,
    FRAME_BLOCKS_MAX,
    FRAME_BYTES_MAX,
    PATCH,
    REPLACE,
    WINDOW_FRAMES_MAX,
    ZERO,
    Frame,
)


class DeltaIndex:
    """The index of a delta that was found good."""

    def __init__(self, content: bytes, index: Index, old: Sequence[Image], name: str) -> None:
        """Judge the index of a delta, whose SHA-256 the caller has checked.

        Args:
            content: the whole file.
            index: that of the release.
            old: the images that the delta is from.
            name: what messages call it.

        Raises:
            ReleaseTooNewError: it is of another version, or has an operation that this one does not know.
            ReleaseFormatError: it breaks a rule of docs/release-format.md.
        """
        self.index = index
        self.old = tuple(old)
        self._name = name
        self._read_header(content)
        try:
            columns = Columns(content[self._hashes_end :], self._columns_size)
            self._read_operations(columns)
            self._read_frames(columns)
            columns.end()
        except ValueError as error:
            raise self._error(str(error)) from error
        self._hashes = content[HEADER.size : self._hashes_end]
        self._check_frames()
        self._check_windows()

    def frame(self, number: int) -> Frame:
        """Return a frame."""
        sha256 = self._hashes[number * SHA256_BYTES : (number + 1) * SHA256_BYTES]
        return Frame(sha256, self._frame_sizes[number], self._frame_blocks[number])

    def frames(self) -> Iterator[Frame]:
        """Give the frames in the order in which they lie in the pack, without a gap."""
        return (self.frame(number) for number in range(self.frame_count))

    def dictionary(self, number: int) -> tuple[Extent, ...]:
        """Return the old data that is the dictionary of a frame, one extent after the other; empty: it needs none."""
        rows = range(self._extents_of[number], self._extents_of[number + 1])
        return tuple(Extent(self._extent_images[at], self._extent_firsts[at], self._extent_blocks[at]) for at in rows)

    def windows(self, image: int) -> Iterator[Window]:
        """Give the windows of an image, by its number in the release, from its start to its end."""
        for row, window in enumerate(self.index.windows(image), self.index.first_row(image)):
            yield self._window(row, window.number, window.sha256)

    def window(self, row: int) -> tuple[int, Window]:
        """Return the number of an image, and a window of it, by its place among those of all images."""
        image, window = self.index.window(row)
        return image, self._window(row, window.number, window.sha256)

    def _window(self, row: int, number: int, sha256: bytes) -> Window:
        rows = range(self._operations_of[row], self._operations_of[row + 1])
        return Window(number, sha256, tuple(self._operation(at) for at in rows))

    def _operation(self, at: int) -> Operation:
        return Operation(self._codes[at], self._blocks[at], self._origins[at], self._firsts[at])

    def _error(self, cause: str) -> errors.ReleaseFormatError:
        return errors.ReleaseFormatError(f"cannot read {self._name}: {cause}")

    def _too_new(self, cause: str) -> errors.ReleaseTooNewError:
        return errors.ReleaseTooNewError(f"cannot read {self._name}: {cause}", hint="upgrade manageboot first")

    def _read_header(self, content: bytes) -> None:
        if len(content) < HEADER.size:
            raise self._error(f"it has {len(content)} bytes, less than its header")
        if len(content) > INDEX_BYTES_MAX:
            raise self._error(f"it has {len(content)} bytes, and {INDEX_BYTES_MAX} are allowed")
        magic, version, windows, frames, operations, extents, pack, columns = HEADER.unpack_from(content)
        if magic != MAGIC:
            raise self._error(f"it begins with {magic.hex()} instead of {MAGIC.hex()}")
        if version != VERSION:
            raise self._too_new(f"it is of version {version}, and this manageboot reads {VERSION}")
        expected = sum(image.windows for image in self.index.images)
        if windows != expected:
            raise self._error(f"it has {windows} windows, and the index of the release has {expected}")
        self._hashes_end = HEADER.size + frames * SHA256_BYTES
        if self._hashes_end > len(content):
            raise self._error(f"it has {len(content)} bytes, too few for {frames} frames")
        if columns > COLUMNS_BYTES_MAX:
            raise self._error(f"its columns have {columns} bytes, and {COLUMNS_BYTES_MAX} are allowed")
        self._window_count, self.frame_count, self._operation_count = windows, frames, operations
        self._extent_count, self.pack_size, self._columns_size = extents, pack, columns

    def _read_operations(self, columns: Columns) -> None:
        counts = columns.take("H", self._window_count)
        self._operations_of = array("Q", accumulate(counts, initial=0))
        """The first operation of each window, and the end of the last one's."""
        if self._operations_of[-1] != self._operation_count:
            raise self._error(f"its windows have {self._operations_of[-1]} operations, not {self._operation_count}")
        self._codes = columns.take("B", self._operation_count)
        # Before its numbers are told apart by their codes.
        if (code := max(self._codes, default=ZERO)) > PATCH:
            raise self._too_new(f"it has operation {code}, which version {VERSION} does not know")
        self._blocks = columns.take("H", self._operation_count)
        copied = [blocks for code, blocks in zip(self._codes, self._blocks, strict=True) if code == COPY]
        taken = sum(code >= REPLACE for code in self._codes)
        images = iter(columns.take("B", len(copied)))
        copy_firsts = starts(columns.take("I", len(copied)), copied)
        frames = starts(columns.take("I", taken), repeat(0, taken))
        take_firsts = iter(columns.take("H", taken))
        self._origins, self._firsts = array("I"), array("I")
        for code in self._codes:
            if code == ZERO:
                origin = first = 0
            elif code == COPY:
                origin, first = next(images), next(copy_firsts)
            else:
                origin, first = next(frames), next(take_firsts)
            self._origins.append(origin)
            self._firsts.append(first)

    def _read_frames(self, columns: Columns) -> None:
        self._frame_sizes = columns.take("I", self.frame_count)
        self._frame_blocks = columns.take("H", self.frame_count)
        counts = columns.take("H", self.frame_count)
        self._extents_of = array("Q", accumulate(counts, initial=0))
        """The first extent of each frame, and the end of the last one's."""
        if self._extents_of[-1] != self._extent_count:
            raise self._error(f"its frames have {self._extents_of[-1]} extents, not {self._extent_count}")
        self._extent_images = columns.take("B", self._extent_count)
        distances = columns.take("I", self._extent_count)
        self._extent_blocks = columns.take("H", self._extent_count)
        self._extent_firsts = array("I", starts(distances, self._extent_blocks))

    def _check_frames(self) -> None:
        ends = array("Q", accumulate(self._frame_sizes, initial=0))
        if ends[-1] != self.pack_size:
            raise self._error(f"its frames have {ends[-1]} bytes, and the pack {self.pack_size}")
        self.offsets: Sequence[int] = ends[:-1]
        """Where each frame begins in the pack, in bytes."""
        for number, (size, blocks) in enumerate(zip(self._frame_sizes, self._frame_blocks, strict=True)):
            if not 1 <= size <= FRAME_BYTES_MAX:
                raise self._error(f"frame {number} has {size} bytes, and 1 to {FRAME_BYTES_MAX} are allowed")
            if not 1 <= blocks <= FRAME_BLOCKS_MAX:
                raise self._error(f"frame {number} has {blocks} blocks, and 1 to {FRAME_BLOCKS_MAX} are allowed")
            extents = self.dictionary(number)
            for extent in extents:
                self._check_extent(f"frame {number}", extent)
            if (needed := sum(extent.blocks for extent in extents)) > DICTIONARY_BLOCKS_MAX:
                cause = f"frame {number} needs {needed} blocks of old data, and {DICTIONARY_BLOCKS_MAX} are allowed"
                raise self._error(cause)

    def _check_extent(self, what: str, extent: Extent) -> None:
        """Judge what is taken from an old image."""
        if not extent.blocks:
            raise self._error(f"{what} takes no blocks of an old image")
        if extent.image >= len(self.old):
            raise self._error(f"{what} needs old image {extent.image}, and there are {len(self.old)}")
        image = self.old[extent.image]
        if extent.first + extent.blocks > (most := -(-image.size // BLOCK_BYTES)):
            end = extent.first + extent.blocks
            raise self._error(f"{what} needs blocks {extent.first} to {end} of old {image.role}, which has {most}")

    def _check_windows(self) -> None:
        used = bytearray(self.frame_count)
        for number, image in enumerate(self.index.images):
            for window in self.windows(number):
                what = f"window {window.number} of {image.role}"
                for operation in window.operations:
                    self._check_operation(what, operation)
                    if operation.frame is not None:
                        used[operation.frame] = 1
                expected = -(-image.length(window.number) // BLOCK_BYTES)
                if (total := sum(operation.blocks for operation in window.operations)) != expected:
                    raise self._error(f"the operations of {what} have {total} blocks, and the window {expected}")
                frames = {operation.frame for operation in window.operations} - {None}
                if len(frames) > WINDOW_FRAMES_MAX:
                    cause = f"{what} needs {len(frames)} frames, and {WINDOW_FRAMES_MAX} are allowed"
                    raise self._error(cause)
        if (unused := used.find(0)) >= 0:
            raise self._error(f"frame {unused} belongs to no window")

    def _check_operation(self, what: str, operation: Operation) -> None:
        if not operation.blocks:
            raise self._error(f"{what} has an operation of no blocks")
        if operation.extent is not None:
            self._check_extent(what, operation.extent)
        elif operation.frame is not None:
            if operation.frame >= self.frame_count:
                raise self._error(f"{what} needs frame {operation.frame}, and there are {self.frame_count}")
            end = operation.first + operation.blocks
            if end > (most := self._frame_blocks[operation.frame]):
                frame = operation.frame
                raise self._error(f"{what} needs blocks {operation.first} to {end} of frame {frame}, which has {most}")
            has_dictionary = self._extents_of[operation.frame] < self._extents_of[operation.frame + 1]
            if has_dictionary != (operation.code == PATCH):
                kind = "a dictionary" if has_dictionary else "no dictionary"
                raise self._error(
                    f"{what} has operation {operation.code} of frame {operation.frame}, which needs {kind}"
                )


def verified(content: bytes, index: Index, delta: Delta, name: str) -> DeltaIndex:
    """Check the index of a delta against the release.json that names it, then judge it.

    Args:
        content: the whole file.
        index: that of the release.
        delta: what release.json says of the delta.
        name: what messages call it.

    Raises:
        ReleaseDigestError: it is not the file that release.json names; nothing of it was looked at.
        ReleaseTooNewError, ReleaseFormatError: as for DeltaIndex, or it tells of another pack.
    """
    check_file(name, delta.idx.size, delta.idx.sha256, len(content), hashlib.sha256(content).hexdigest())
    found = DeltaIndex(content, index, delta.images, name)
    if found.pack_size != delta.pack.size:
        cause = f"it is of a pack of {found.pack_size} bytes, and release.json of one of {delta.pack.size}"
        raise errors.ReleaseFormatError(f"cannot read {name}: {cause}")
    return found
