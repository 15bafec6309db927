"""Read back what was written: flushed, and past the page cache, while the rest of the image is still on its way."""

from collections.abc import Iterator
from time import monotonic

from manageboot import errors
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer, all_zeros, equal
from manageboot.disk.digest import WINDOW_BYTES, window_digest
from manageboot.install.imagewriter import ImageWriter, Window

BATCH_WINDOWS = 32
"""How many windows of data are written, at most, before they are flushed and read back; more at a time made nothing
faster."""

_FLUSH_S = 0.5
"""How long a flush may take before there is less in the next one: nobody can interrupt it."""
_LEAST_WINDOWS = 4

_OFTEN_S = 1.0
"""After this time what was written is flushed, however little it is, where it would have to be fetched again."""

_READ_WINDOWS = 4
"""How many windows that lie one behind the other are read in one request, which a device does faster than four."""

_SAMPLE_BYTES = 4096
_SAMPLE_STEP_BYTES = 16 << 20
"""Zeros are read back in samples, at the beginning of each such step and at their end."""


class ReadBack:
    """Compares what devices hold with what they were given, byte for byte.

    Data is read whole. Of zeros, which the device made by its own means, samples are read: that finds a device that
    did not do it, or did it elsewhere, without reading gigabytes of nothing. A header that comes last is compared when
    it is written.
    """

    def __init__(self, *, compare: bool, often: bool = False) -> None:
        """Start with nothing read.

        Args:
            compare: whether windows are compared, and not only flushed.
            often: whether to flush once a second, so that a reset costs what came in that time.
        """
        self.bytes_read = 0
        self._compare = compare
        self._often = often
        self._flushed_s = 0.0
        self._batch_windows = BATCH_WINDOWS
        self._buffer = memoryview(aligned_buffer(_READ_WINDOWS * WINDOW_BYTES))

    def stage(self, windows: Iterator[Window]) -> Iterator[Window]:
        """Flush and compare windows, a batch at a time; give those that are as they should be.

        Raises:
            ReadBackError: a device holds something else.
            DeviceError: a device failed.

        Durability: what it gives is on the disk.
        """
        batch: list[Window] = []
        count = 0
        for window in windows:
            batch.append(window)
            count += window.digest is not None
            if count >= self._batch_windows or (self._often and monotonic() - self._flushed_s >= _OFTEN_S):
                yield from self._checked(batch)
                batch, count = [], 0
        if batch:
            yield from self._checked(batch)

    def _checked(self, batch: list[Window]) -> Iterator[Window]:
        self._flush({window.image.device for window in batch})
        for group in _neighbours(batch):
            if self._compare:
                self._check(group)
            yield from group

    def _flush(self, devices: set[BlockDevice]) -> None:
        """Flush devices, and let the next batch be as large as suits them."""
        started = monotonic()
        for device in devices:
            device.flush()
        self._flushed_s = monotonic()
        took_s = self._flushed_s - started
        if took_s > _FLUSH_S:
            self._batch_windows = max(self._batch_windows // 2, _LEAST_WINDOWS)
        elif took_s < _FLUSH_S / 4:
            self._batch_windows = min(self._batch_windows * 2, BATCH_WINDOWS)

    def _check(self, group: list[Window]) -> None:
        """Compare a group of `_neighbours` with what the device holds.

        Raises:
            ReadBackError: it is something else; device, offset and both values are named.
            DeviceError: the device failed.
        """
        first = group[0]
        if first.kept:
            return
        if first.buffer is None:
            self._check_zeros(first)
            return
        image, length = first.image, sum(window.length for window in group)
        found = self._buffer[: image.device.round_up(length)]
        self._read(image.device, first.offset, found)
        for window in group:
            at = window.offset - first.offset
            self._compare_data(window, found[at : at + window.length])

    def _compare_data(self, window: Window, found: memoryview) -> None:
        assert window.buffer is not None
        image, expected = window.image, window.buffer[: window.length]
        if window.offset == 0 and image.header is not None:
            found[: len(image.header)] = memoryview(image.header)[: len(found)]
        if not equal(found, expected):
            said = "zeros" if all_zeros(found) else f"sha256 {window_digest(found).hex()}"
            raise _error(image, window.offset, f"sha256 {window_digest(expected).hex()}", said)

    def _check_zeros(self, window: Window) -> None:
        device = window.image.device
        end = window.offset + device.round_up(window.length)
        sample = min(device.round_up(_SAMPLE_BYTES), end - window.offset)
        starts = [*range(window.offset, end - sample, _SAMPLE_STEP_BYTES), end - sample]
        for start in starts:
            buffer = self._buffer[:sample]
            self._read(device, start, buffer)
            if not all_zeros(buffer):
                raise _error(window.image, start, "zeros", f"{buffer[:16].hex(' ')} ...")

    def _read(self, device: BlockDevice, offset: int, buffer: memoryview) -> None:
        device.read_into(offset, buffer)
        self.bytes_read += len(buffer)


def _neighbours(windows: list[Window]) -> Iterator[list[Window]]:
    """Put windows of data together that one request can read; each other one stays alone."""
    group: list[Window] = []
    for window in windows:
        if group and not (len(group) < _READ_WINDOWS and _follows(window, group[-1])):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _follows(window: Window, last: Window) -> bool:
    return (
        window.image is last.image
        and window.offset == last.offset + last.length
        and not (window.kept or last.kept)
        and window.buffer is not None
        and last.buffer is not None
    )


def _error(image: ImageWriter, offset: int, expected: str, found: str) -> errors.ReadBackError:
    return errors.ReadBackError(
        f"cannot write {image.device.path} at {offset}: expected {expected}, read back {found}",
        hint="the device does not keep what it is given; see its health, then run upgrade-install again",
    )
