"""A release as an update image: the members are its images, and nobody gets a window that was not verified."""

import logging
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from manageboot import errors
from manageboot.boot.floor import Installed
from manageboot.boot.record import SlotRecord
from manageboot.channel import linkreader, ways
from manageboot.channel.chain import Link, Links
from manageboot.channel.deltareader import DeltaReader
from manageboot.channel.folder import Folder
from manageboot.channel.lacking import is_lacking
from manageboot.channel.linkreader import LinkReader
from manageboot.channel.packreader import PackReader
from manageboot.channel.place import Place
from manageboot.channel.plan import Passive, Plan
from manageboot.channel.seed import SeedSlot
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.image import VERSION, Member, member_name
from manageboot.image.member import Fill, Prepare
from manageboot.image.sparse import SparseMap
from manageboot.release import index as release_index
from manageboot.release.description import INDEX, PACK, Release
from manageboot.release.layout import Image
from manageboot.release.windows import Window

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from manageboot.fetch.mirrors import Traffic

_Error = TypeVar("_Error", bound=errors.ManagebootError)


class ReleaseImage:
    """An update image out of a release; what the methods promise stands at UpdateImage."""

    format = "release"
    ignored: Sequence[str] = ()

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
        self._folder = Folder(place, folder)
        content = self._folder.read(INDEX, release.idx)
        self._index = release_index.verified(content, release, self._folder.name(INDEX))
        self._plan = Plan(self._index, self._folder.name(PACK))
        self._reader: PackReader | DeltaReader = self._full()
        self._link: LinkReader | None = None
        self._bytes_planned = release.pack.size
        self._bytes_ahead = 0
        self.release = release
        """What its release.json says."""
        self.way = ways.full(release, release.pack.size)
        """By which it comes, and what that costs where nothing is wrong."""
        self.others: list[ways.Way] = []
        """What would have cost more."""
        self.known = [self._member(number, image) for number, image in enumerate(self._index.images)]

    @property
    def bytes_total(self) -> int:
        """How much of the packs is to be read, in bytes."""
        return self._bytes_planned

    @property
    def bytes_needed(self) -> int:
        """The same, and what came ahead, and what of the full pack as the booted slot is not what a delta is from."""
        more = self._reader.bytes_more if isinstance(self._reader, DeltaReader) else 0
        return self._bytes_planned + self._bytes_ahead + more

    @property
    def bytes_read(self) -> int:
        """How much of the packs has been read so far; any thread may ask."""
        return min(self._reader.bytes_read, self.bytes_total)

    @property
    def remarks(self) -> Sequence[str]:
        """What is odd and did no harm."""
        if not isinstance(self._reader, DeltaReader) or not self._reader.wrong:
            return ()
        wrong = (
            f"{self._reader.wrong} windows did not come out of the booted slot and the delta from {self.way.version}"
        )
        return (f"{wrong}; {self._reader.bytes_more} bytes of the full pack made up for that",)

    def read_also(self, passive: Passive) -> None:
        """Read what was written to the passive slot there, instead of fetching it once more."""
        self._plan.passive = passive

    @property
    def is_fetched(self) -> bool:
        """Whether it comes from a network."""
        return self._folder.place.is_remote

    def traffic(self) -> "tuple[Traffic, ...]":
        """Return what went to and came from each mirror so far."""
        return self._folder.place.traffic()

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
        self._bytes_planned = self._plan.bytes_needed
        self.way = ways.full(self.release, self._bytes_planned)

    def links(self, booted: Installed | None, record: SlotRecord | None) -> Sequence[Link]:
        """Return the deltas that are of use where the booted slot holds a release, as `Links.to` does."""
        return Links(self._folder.place).to(self._folder.path, self.release, booted, record)

    def take_delta(self, link: Link, slot: SeedSlot, runtime: str, *, may_fall_back: bool) -> bool:
        """Read a delta and the booted slot instead of the full pack, if that costs less; nothing was read yet.

        Args:
            link: a delta of this release, or a chain that ends with one.
            slot: what holds the images that it begins with, as far as is known.
            runtime: the runtime directory.
            may_fall_back: whether the full pack is read where they are wrong, or where the delta can't be read.

        Returns:
            Whether it is taken.

        Raises:
            ManagebootError: its index can't be read, or is not to be used, and there is no other way.
        """
        if link.bytes_least >= self._bytes_planned:
            return False
        try:
            reader = linkreader.opened(self._folder, link, self._index, self._plan, slot, runtime)
        except errors.ManagebootError as error:
            # That a chain was begun with is nobody's promise: what is between may be withdrawn from the mirrors.
            if not is_lacking(error) or not (may_fall_back or link.first):
                raise
            logger.warning("the delta from %s is not used: %s", link.seed.version, error)
            # A mirror that is out for what it sent of a delta is asked for the full pack all the same.
            self._reader.close()
            self._reader = self._full(aside=True)
            return False
        way = ways.by_delta(self.release, link, reader.bytes_needed + reader.bytes_ahead)
        if way.bytes >= self.way.bytes:
            reader.close()
            self.others.append(way)
            return False
        self._reader.close()
        self._plan.stand_by()
        self._bytes_planned, self._bytes_ahead = reader.bytes_needed, reader.bytes_ahead
        self._reader = DeltaReader(reader, self._full(aside=True), link.seed.version, may_fall_back=may_fall_back)
        self._link = reader
        self.others.append(self.way)
        self.way = way
        return True

    def keep_in(self, directory: str) -> None:
        """Keep what is fetched in the runtime directory until it is on its device, for the run that follows a kill.

        After `read_also`, `resume` and `take_delta`; nothing was read yet.
        """
        self._reader.keep_in(directory)
        before, self._bytes_planned = self._bytes_planned, self._reader.bytes_needed
        self.way = self.way._replace(bytes=self.way.bytes - before + self._bytes_planned)

    @property
    def bytes_ahead(self) -> int:
        """How much has to be read before all else, in bytes: the first pack of a chain."""
        return self._bytes_ahead

    def fetch_ahead(self, report: Callable[[int], None], *, may_fall_back: bool) -> bool:
        """Read that, after `keep_in`.

        Args:
            report: is told how many bytes were read.
            may_fall_back: whether the full pack is read instead, if it can't be had; `keep_in` is to be called again.

        Returns:
            Whether it was read.

        Raises:
            ManagebootError: it can't be read, and there is no other way.
        """
        assert self._link is not None
        try:
            self._link.fetch_ahead(report)
        except errors.ManagebootError as error:
            if not may_fall_back or not is_lacking(error):
                raise
            logger.warning("the delta from %s is left, and the full pack is taken: %s", self.way.version, error)
            self._reader.close()
            self._plan.take_over(0)
            self._reader, self._link, self._bytes_ahead = self._full(aside=True), None, 0
            self._bytes_planned = self._plan.bytes_needed
            self.way = ways.full(self.release, self._bytes_planned)
            return False
        return True

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
        self._reader.cancel()
        if self._plan.passive is not None:
            self._plan.passive.cancel()

    def close(self) -> None:
        """Close the pack, and the place that it is of."""
        self._reader.close()
        self._folder.place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _full(self, *, aside: bool = False) -> PackReader:
        return PackReader(self._plan, self._folder.open(PACK, self._plan, aside=aside), self._plan.name)

    def _member(self, number: int, image: Image) -> Member:
        extents = SparseMap(image.size)
        for window in self._index.windows(number):
            extents.add(window.number * WINDOW_BYTES, image.length(window.number))
        # The way is chosen before the first window is asked for.
        reader = _ImageReader(number, image, lambda: self._reader)
        return Member(member_name(image.role), extents, reader.read, self.error, later=reader.later)


class _ImageReader:
    """Gives the data of one image, in order and in pieces of any size, out of windows that were verified as a whole."""

    def __init__(self, number: int, image: Image, reader: Callable[[], PackReader | DeltaReader]) -> None:
        self._number = number
        self._image = image
        self._reader = reader
        self._ahead: Iterator[tuple[int, Window]] | None = None
        self._at = -1
        self._last: tuple[int, Window] | None = None
        self._buffer = memoryview(bytearray(WINDOW_BYTES))

    def read(self, target: memoryview, offset: int) -> None:
        done = 0
        while done < len(target):
            number, start = divmod(offset + done, WINDOW_BYTES)
            # The first window of each image may be asked for to look at its head.
            if number > 0:
                self._reader().go_in_order()
            if number != self._at:
                row, window = self._window(number)
                # Not before it is verified: a window that failed is never given.
                self._at = -1
                self._reader().prepare(row, self._image, window, self._buffer)()
                self._at = number
            part = min(len(target) - done, WINDOW_BYTES - start)
            target[done : done + part] = self._buffer[start : start + part]
            done += part

    def later(self, buffer: memoryview, offset: int) -> Prepare:
        """Say how the window at an offset gets into a buffer."""

        def prepare() -> Fill:
            self._reader().go_in_order()
            row, window = self._window(offset // WINDOW_BYTES)
            make = self._reader().prepare(row, self._image, window, buffer)

            def fill() -> bytes:
                make()
                return window.sha256

            return fill

        return prepare

    def _window(self, number: int) -> tuple[int, Window]:
        """Return a window and its row; they are asked for in order, the last one as often as one likes."""
        if self._ahead is None:
            self._ahead = self._reader().windows(self._number)
        if self._last is None or self._last[1].number != number:
            self._last = next(one for one in self._ahead if one[1].number == number)
        return self._last
