"""The seed of a delta: the booted slot, as far as it holds the old images. Nothing that it gives is trusted."""

import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from manageboot import errors
from manageboot.boot.floor import Installed
from manageboot.boot.record import SlotRecord
from manageboot.disk.buffer import aligned_buffer
from manageboot.release.deltalayout import Extent
from manageboot.release.description import Delta, Image, Release
from manageboot.release.layout import BLOCK_BYTES

_GAP_BYTES = 64 << 10
"""What lies between two extents is read as well, up to this: a request costs about as much."""
_GAPS_BYTES = 1 << 20
"""The same of one request, all in all."""
_BUFFERS_MAX = 512
"""Of one request; the kernel takes 1,024. Source: preadv(2), IOV_MAX."""


class SeedSlot(Protocol):
    """The devices of a slot, by their roles; they are only read."""

    def read_into(self, role: str, offset: int, targets: Sequence[memoryview]) -> None:
        """Fill buffers with what a device holds now from an offset in bytes on, one after the other; for any thread.

        Raises:
            DeviceError: it can't be read.
        """
        ...


class _Request(NamedTuple):
    role: str
    offset: int
    targets: list[memoryview]
    wanted: list[tuple[int, memoryview]]
    """Those of the targets that are not between two extents, with their offsets."""


class Seed:
    """The old images of a delta, as they lie in a slot."""

    def __init__(self, images: Sequence[Image], slot: SeedSlot) -> None:
        """Read images whose roles the slot has."""
        self._images = images
        self._slot = slot
        self._own = threading.local()
        self._bad: set[str] = set()
        """Roles that could not be read as a whole once. A sector there that nobody needs is not touched again."""

    def read(self, wanted: Sequence[tuple[Extent, memoryview]]) -> None:
        """Fill buffers, each with the blocks of an extent; what lies behind an image on its device counts as zeros.

        Raises:
            DeviceError: the device can't be read.
        """
        for request in self._requests(wanted):
            try:
                self._slot.read_into(request.role, request.offset, request.targets)
            except errors.DeviceError:
                if len(request.targets) == 1:
                    raise
                self._bad.add(request.role)
                for offset, target in request.wanted:
                    self._slot.read_into(request.role, offset, [target])

    def _requests(self, wanted: Sequence[tuple[Extent, memoryview]]) -> Iterator[_Request]:
        """Put together what lies close together."""
        between = self._between()
        request: _Request | None = None
        end = used = 0
        for extent, target in sorted(wanted, key=lambda one: (one[0].image, one[0].first)):
            image, begin = self._images[extent.image], extent.first * BLOCK_BYTES
            there = target[: image.size - begin]
            target[len(there) :] = bytes(len(target) - len(there))
            gap = begin - end
            may_span = 0 if image.role in self._bad else min(_GAP_BYTES, _GAPS_BYTES - used)
            if request is None or not (
                request.role == image.role and 0 <= gap <= may_span and len(request.targets) < _BUFFERS_MAX
            ):
                if request is not None:
                    yield request
                request, used = _Request(image.role, begin, [], []), 0
            elif gap:
                request.targets.append(between[used : used + gap])
                used += gap
            request.targets.append(there)
            request.wanted.append((begin, there))
            end = begin + len(there)
        if request is not None:
            yield request

    def _between(self) -> memoryview:
        """Give a thread's own memory for what nobody looks at.

        Nobody but the kernel: layers that verify or decrypt what they read do so where it goes to, and if the same page
        were there twice, or were another thread's as well, they would see what they did not write.
        Source: "dm-crypt, dm-verity: don't modify the data when using authenticated encryption", Linux 6.8.
        """
        if not hasattr(self._own, "between"):
            self._own.between = memoryview(aligned_buffer(_GAPS_BYTES))
        between: memoryview = self._own.between
        return between


def deltas_from(release: Release, booted: Installed | None, record: SlotRecord | None) -> tuple[Delta, ...]:
    """Return the deltas of a release that the booted slot is a seed of, the smallest first.

    What is written down of the slot decides; whether it is so shows when the windows are verified.

    Args:
        release: the new one.
        booted: the release that the booted slot holds; None: nobody knows of any.
        record: what the record says of that slot.
    """
    found = [delta for delta in release.deltas if _holds(delta, booted, record)]
    return tuple(sorted(found, key=lambda delta: delta.idx.size + delta.pack.size))


def _holds(delta: Delta, booted: Installed | None, record: SlotRecord | None) -> bool:
    if record is not None and record.images is not None:
        images = {role: (image.size, image.digest) for role, image in record.images.items()}
        return all(images.get(image.role) == (image.size, image.digest) for image in delta.images)
    if booted is None or delta.sha256 != booted.sha256:
        return False
    # What was installed there since by who knows no releases has another transaction.
    return record is None or record.transaction in {None, booted.transaction}
