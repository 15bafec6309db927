"""Reads the windows of a release out of one pack: the full one, or that of a delta."""

from collections.abc import Callable, Iterator

from manageboot.channel.place import Pack
from manageboot.channel.plan import Plan, PlannedReader
from manageboot.channel.spool import Spool
from manageboot.release.frames import Unpacker
from manageboot.release.layout import Image
from manageboot.release.windows import OldData, Window

Make = Callable[[], None]
"""Makes a window in the buffer that it was prepared for; any thread may call it, once."""


class PackReader:
    """Gives windows by their rows: the place that each has among those of all images."""

    def __init__(self, plan: Plan, pack: Pack, name: str, old: OldData | None = None) -> None:
        """Read a pack as a plan says.

        Args:
            plan: what of it is needed.
            pack: its bytes; it is closed with this.
            name: what messages call it.
            old: what a delta takes from old images.
        """
        self.plan = plan
        self.bytes_read = 0
        """How much of the pack has been read so far, but for what a run before has fetched; any thread may ask."""
        self._spool: Spool | None = None
        self._pack = pack
        self._closed = False
        self._row = 0
        self._windows = PlannedReader(plan, self._read, Unpacker(plan.pack, name), old)

    @property
    def bytes_needed(self) -> int:
        """How much of the pack is to be read, in bytes; nothing was read yet."""
        return self.plan.bytes_needed

    def windows(self, image: int) -> Iterator[tuple[int, Window]]:
        """Give the windows of an image with their rows, by its number, from its start to its end."""
        return self.plan.windows(image)

    def prepare(self, row: int, image: Image, window: Window, buffer: memoryview) -> Make:
        """Read and verify what a window needs; by one thread at a time, and in order.

        Args:
            row: that of the window.
            image: the image that it is of.
            window: the window, as `windows` gave it.
            buffer: where it goes, with room for whole blocks of 4 KiB.

        Raises:
            ReleaseDigestError: a frame is not what the index names.
            ManagebootError: the pack can't be read.
        """
        self._row = row
        gathered = self._windows.gather(window)
        return lambda: self._windows.put_together(image, window, gathered, buffer)

    def prepare_alone(self, row: int, image: Image, buffer: memoryview) -> Make:
        """Do what `prepare` does, for a window of which nothing was planned."""
        return self.prepare(row, image, self.plan.window(row), buffer)

    def go_in_order(self) -> None:
        """Note that windows are asked for one after the other from now on."""
        self.plan.in_order = True

    def keep_in(self, directory: str) -> None:
        """Keep frames in the runtime directory until they are on their device, and take up those that are there."""
        self._spool = Spool(directory, self.plan.pack, self.plan)

    def cancel(self) -> None:
        """Make a read fail that waits for a server; files keep nobody waiting."""
        if self._spool is not None:
            self._spool.cancel()
        self._pack.cancel()

    def close(self) -> None:
        """Close the pack; any number of times."""
        if not self._closed:
            self._closed = True
            self._pack.__exit__(None, None, None)

    def _read(self, offset: int, size: int) -> bytes:
        if self._spool is None:
            return self._fetched(offset, size)
        number = self.plan.number(offset)
        if (kept := self._spool.take(number)) is not None:
            return kept
        self._spool.make_room(number, self._row)
        stored = self._fetched(offset, size)
        self._spool.keep(number, stored)
        return stored

    def _fetched(self, offset: int, size: int) -> bytes:
        stored = self._pack.read(offset, size)
        self.bytes_read += len(stored)
        return stored
