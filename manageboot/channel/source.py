"""A release as an update image: the members are its images, and nobody gets a window that was not verified."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from manageboot import errors
from manageboot.channel.place import Pack, Place
from manageboot.channel.plan import Passive, Plan, PlannedReader
from manageboot.channel.spool import Spool
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION, Member, member_name
from manageboot.image.member import Fill, Prepare
from manageboot.image.sparse import SparseMap
from manageboot.release import index as release_index
from manageboot.release.description import INDEX, INDEX_BYTES_MAX, PACK, Release
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index
from manageboot.release.layout import Image, Window
from manageboot.release.windows import WindowReader

if TYPE_CHECKING:
    from manageboot.fetch.mirrors import Traffic

_Error = TypeVar("_Error", bound=errors.ManagebootError)


class ReleaseImage:
    """An update image out of a release; what the methods promise stands at UpdateImage."""

    format = "release"
    ignored: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def __init__(self, place: Place, folder: str, release: Release, sha256: str, images: Sequence[str]) -> None:
        """Read and verify the index, and open the pack.

        Args:
            place: where it is.
            folder: the directory of the release there; empty: the place itself.
            release: what its release.json says, which the caller has verified.
            sha256: that of the release.json, in hexadecimal.
            images: the names of the images that it has to have.

        Raises:
            ReleaseDigestError, ReleaseFormatError, ReleaseTooNewError: the index is not to be used.
            ImageMemberError: it has other images.
            InputError, NotPermittedError, DeviceError: a file can't be read.
        """
        self.sha256 = sha256
        self._name = f"release {release.version} of {place.name}"
        self._version = release.version
        found = [member_name(image.role) for image in release.images]
        if set(found) != set(images):
            raise self.error(errors.ImageMemberError, f"it has {', '.join(found)}, and {', '.join(images)} are needed")
        path = f"{folder}/{INDEX}" if folder else INDEX
        index = _index(place, path, release)
        path = f"{folder}/{PACK}" if folder else PACK
        self.bytes_total = release.pack.size
        self._place = place
        self._index = index
        self._plan = Plan(index, f"{place.name}/{path}")
        self._counted = _Counted(place.open(path, self._plan), self._plan)
        windows = PlannedReader(index, self._counted.read, Unpacker(index, f"{place.name}/{path}"))
        windows.plan = self._plan
        self.known = [self._member(index, number, image, windows) for number, image in enumerate(index.images)]

    @property
    def bytes_read(self) -> int:
        """How much of the pack has been read so far; any thread may ask."""
        return min(self._counted.bytes, self.bytes_total)

    def read_also(self, passive: Passive) -> None:
        """Read what was written to the passive slot there, instead of fetching it once more."""
        self._plan.passive = passive

    @property
    def is_fetched(self) -> bool:
        """Whether it comes from a network."""
        return self._place.is_remote

    def traffic(self) -> "tuple[Traffic, ...]":
        """Return what went to and came from each mirror so far."""
        return self._place.traffic()

    @property
    def data_bytes(self) -> int:
        """The size of all windows that are not zeros, in bytes."""
        return sum(member.data_size for member in self.known)

    def resume(self, report: Callable[[int], None]) -> None:
        """Find out what the passive slot holds already, which is not fetched; nothing was read yet.

        Args:
            report: is told how many bytes were compared.
        """
        self._plan.compare(report)
        self.bytes_total = self._plan.bytes_needed

    def keep_in(self, directory: str) -> None:
        """Keep what is fetched in the runtime directory until it is on its device, for the run that follows a kill.

        After `read_also` and `resume`; nothing was read yet.
        """
        self._counted.spool = Spool(directory, self._index, self._plan)
        self.bytes_total = self._plan.bytes_needed

    def members(self) -> Iterator[Member]:
        """Give the version, then the images."""
        text = self._version.encode()
        extents = SparseMap(len(text))
        extents.add(0, len(text))

        def fill(window: memoryview, offset: int) -> None:
            window[:] = text[offset : offset + len(window)]

        yield Member(VERSION, extents, fill, self.error)
        yield from self.known

    def error(self, kind: type[_Error], cause: str, *, hint: str | None = None) -> _Error:
        """Make the error that says why this release can't be read."""
        return kind(f"cannot read {self._name}: {cause}", hint=hint)

    def cancel(self) -> None:
        """Make a read fail that waits for a server; files keep nobody waiting."""
        self._counted.cancel()
        if self._plan.passive is not None:
            self._plan.passive.cancel()

    def close(self) -> None:
        """Close the pack, and the place that it is of."""
        self._counted.close()
        self._place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _member(self, index: Index, number: int, image: Image, windows: WindowReader) -> Member:
        extents = SparseMap(image.size)
        for window in index.windows(number):
            extents.add(window.number * WINDOW_BYTES, image.length(window.number))
        reader = _ImageReader(image, number, self._plan, windows)
        return Member(member_name(image.role), extents, reader.read, self.error, later=reader.later)


def _index(place: Place, path: str, release: Release) -> Index:
    """Read and verify the index of a release."""
    name, published = f"{place.name}/{path}", release.idx

    def judge(content: bytes) -> None:
        release_index.check_file(
            name, published.size, published.sha256, len(content), hashlib.sha256(content).hexdigest()
        )

    content = place.read(path, min(published.size, INDEX_BYTES_MAX), judge=judge, size=published.size)
    return release_index.verified(content, release, name)


class _Counted:
    """Counts what is read of a pack, but for what a run before has fetched."""

    def __init__(self, pack: Pack, plan: Plan) -> None:
        self.bytes = 0
        self.spool: Spool | None = None
        self._pack = pack
        self._plan = plan
        self._closed = False

    def read(self, offset: int, size: int) -> bytes:
        if self.spool is None:
            return self._read(offset, size)
        number = self._plan.number(offset)
        if (kept := self.spool.take(number)) is not None:
            return kept
        self.spool.make_room(number)
        stored = self._read(offset, size)
        self.spool.keep(number, stored)
        return stored

    def cancel(self) -> None:
        if self.spool is not None:
            self.spool.cancel()
        self._pack.cancel()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pack.__exit__(None, None, None)

    def _read(self, offset: int, size: int) -> bytes:
        stored = self._pack.read(offset, size)
        self.bytes += len(stored)
        return stored


class _ImageReader:
    """Gives the data of one image, in order and in pieces of any size, out of windows that were verified as a whole."""

    def __init__(self, image: Image, number: int, plan: Plan, windows: WindowReader) -> None:
        self._image = image
        self._plan = plan
        self._ahead = plan.windows(number)
        self._windows = windows
        self._at = -1
        self._last: Window | None = None
        self._buffer = memoryview(bytearray(WINDOW_BYTES))

    def read(self, target: memoryview, offset: int) -> None:
        done = 0
        while done < len(target):
            number, start = divmod(offset + done, WINDOW_BYTES)
            # The first window of each image may be asked for to look at its head.
            self._plan.in_order |= number > 0
            if number != self._at:
                window = self._window(number)
                # Not before it is verified: a window that failed is never given.
                self._at = -1
                self._windows.fill(self._image, window, self._buffer)
                self._at = number
            part = min(len(target) - done, WINDOW_BYTES - start)
            target[done : done + part] = self._buffer[start : start + part]
            done += part

    def later(self, buffer: memoryview, offset: int) -> Prepare:
        """Say how the window at an offset gets into a buffer."""

        def prepare() -> Fill:
            self._plan.in_order = True
            window = self._window(offset // WINDOW_BYTES)
            gathered = self._windows.gather(window)

            def fill() -> bytes:
                self._windows.put_together(self._image, window, gathered, buffer)
                return window.sha256

            return fill

        return prepare

    def _window(self, number: int) -> Window:
        """Return a window; they are asked for in order, the last one as often as one likes."""
        if self._last is None or self._last.number != number:
            self._last = next(window for window in self._ahead if window.number == number)
        return self._last
