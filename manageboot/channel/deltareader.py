"""Reads the windows of a release out of a delta and the booted slot, and out of the full pack what those do not give.

A window that does not come out as release.idx names it, since the booted slot is not what the delta is from, is made
anew of the frames of the full pack. Those are fetched in a run of their own, beside the pack of the delta.
"""

import logging
import threading
from collections.abc import Iterator

from manageboot import errors
from manageboot.channel.lacking import is_lacking
from manageboot.channel.packreader import Make, PackReader
from manageboot.channel.plan import Local
from manageboot.channel.refusals import SeedError
from manageboot.release.layout import Image
from manageboot.release.windows import Window

logger = logging.getLogger(__name__)


class DeltaReader:
    """Does what a PackReader does."""

    def __init__(self, delta: PackReader, full: PackReader, version: str, *, may_fall_back: bool) -> None:
        """Read a delta, of which nothing was read yet.

        Args:
            delta: reads its pack.
            full: reads the full pack, of which nothing is needed yet.
            version: of the old release.
            may_fall_back: whether the full pack may be read at all.
        """
        self.bytes_more = 0
        """How much of the full pack was needed after all, beside the pack of the delta; it grows."""
        self.wrong = 0
        """How many windows did not come out right."""
        self._delta = delta
        self._full = full
        self._version = version
        self._may_fall_back = may_fall_back
        self._lock = threading.Lock()
        self._rows: set[int] = set()
        self._is_left = False
        self._cancelled = False

    @property
    def bytes_read(self) -> int:
        """How much of both packs has been read so far; any thread may ask."""
        return self._delta.bytes_read + self._full.bytes_read

    def windows(self, image: int) -> Iterator[tuple[int, Window]]:
        """Give the windows of an image with their rows, by its number, from its start to its end."""
        return self._delta.windows(image)

    def prepare(self, row: int, image: Image, window: Window, buffer: memoryview) -> Make:
        """Read and verify what a window needs; by one thread at a time, and in order.

        Raises:
            ManagebootError: as `PackReader.prepare`. What it returns raises SeedError where the booted slot is wrong.
        """
        if not self._is_left and row not in self._rows:
            try:
                make = self._delta.prepare(row, image, window, buffer)
            except errors.ManagebootError as error:
                if self._cancelled or not self._may_fall_back or not is_lacking(error):
                    raise
                self._leave(row, error)
            else:
                return lambda: self._make(make, row, image, window, buffer)
        return self._prepare_full(row, image, buffer)

    @property
    def bytes_needed(self) -> int:
        """How much of the pack of the delta is to be read, in bytes; nothing was read yet."""
        return self._delta.bytes_needed

    def go_in_order(self) -> None:
        """Note that windows are asked for one after the other from now on."""
        self._delta.go_in_order()
        self._full.go_in_order()

    def keep_in(self, directory: str) -> None:
        """Keep frames of the delta in the runtime directory until they are on their device."""
        self._delta.keep_in(directory)

    def cancel(self) -> None:
        """Make a read fail that waits for a server."""
        self._cancelled = True
        self._delta.cancel()
        self._full.cancel()

    def close(self) -> None:
        """Close both packs."""
        self._delta.close()
        self._full.close()

    def _make(self, make: Make, row: int, image: Image, window: Window, buffer: memoryview) -> None:
        try:
            make()
        except (errors.ReleaseDigestError, errors.ReleaseFormatError, errors.DeviceError) as error:
            if self._cancelled or all(isinstance(operation, Local) for operation in window.operations):
                raise
            self._judge(row, image, window, error)
            self._prepare_full(row, image, buffer)()

    def _judge(self, row: int, image: Image, window: Window, error: errors.ManagebootError) -> None:
        """Take a window for wrong, where that is allowed."""
        what = f"the booted slot does not give window {window.number} of {image.role} as {self._version} had it"
        if not self._may_fall_back:
            raise SeedError(f"cannot install by the delta from {self._version}: {what}: {error}") from error
        with self._lock:
            self._rows.add(row)
            self.wrong += 1
            first = self.wrong == 1
        if first:
            logger.warning("%s; what is wrong is taken from the full pack: %s", what, error)

    def _leave(self, row: int, error: errors.ManagebootError) -> None:
        """Read the full pack alone from a row on."""
        logger.warning("the delta from %s is left, and the rest is taken from the full pack: %s", self._version, error)
        with self._lock:
            self._is_left = True
            self._full.plan.take_over(row)

    def _prepare_full(self, row: int, image: Image, buffer: memoryview) -> Make:
        with self._lock:
            before = self._full.bytes_read
            make = self._full.prepare_alone(row, image, buffer)
            self.bytes_more += self._full.bytes_read - before
        return make
