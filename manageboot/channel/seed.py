"""The seed of a delta: the booted slot, as far as it holds the old images. Nothing that it gives is trusted."""

from collections.abc import Sequence
from typing import Protocol

from manageboot.boot.floor import Installed
from manageboot.boot.record import SlotRecord
from manageboot.release.deltalayout import Extent
from manageboot.release.description import Delta, Image, Release
from manageboot.release.layout import BLOCK_BYTES


class SeedSlot(Protocol):
    """The devices of a slot, by their roles; they are only read."""

    def read_into(self, role: str, offset: int, target: memoryview) -> None:
        """Fill a buffer with what a device holds now, at an offset in bytes; any thread asks, also several at once.

        Raises:
            DeviceError: it can't be read.
        """
        ...


class Seed:
    """The old images of a delta, as they lie in a slot."""

    def __init__(self, images: Sequence[Image], slot: SeedSlot) -> None:
        """Read images whose roles the slot has."""
        self._images = images
        self._slot = slot

    def read(self, extent: Extent) -> bytearray:
        """Return the blocks of an extent; what lies behind the image on its device counts as zeros.

        Raises:
            DeviceError: the device can't be read.
        """
        image = self._images[extent.image]
        begin, blocks = extent.first * BLOCK_BYTES, bytearray(extent.blocks * BLOCK_BYTES)
        self._slot.read_into(image.role, begin, memoryview(blocks)[: image.size - begin])
        return blocks


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
