"""Whether a slot still holds what was installed, by a sample: what is armed was looked at a moment before.

The record is not enough: it may be older than the slot. Whoever had it mounted, or wrote an image there by hand, left
no word of that. The whole would take minutes; some windows of each image, the first one among them, take a moment, and
show an image that was overwritten, and a file system that was mounted and changed.
"""

from manageboot import errors
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, window_digest
from manageboot.protocol import Slot, Verb


def require(config: Config, slot: Slot, entry: SlotRecord | None, verb: Verb) -> None:
    """Make sure that a slot which was installed holds what its record keeps samples of.

    A record of a version that kept no samples is taken at its word, and so is a slot without a record.

    Raises:
        NothingInstalledError: it holds something else, or a part of it is not in the configuration any more.
        DeviceMissingError, DeviceAmbiguousError, NotPermittedError, DeviceError: it can't be read.
    """
    wanted = config.install.check_sample
    images = {} if entry is None else entry.images or {}
    for role, image in images.items():
        is_wanted = wanted if isinstance(wanted, bool) else role in wanted
        if not is_wanted or not image.sample:
            continue
        spec = config.slots[slot].get(role)
        if spec is None:
            raise errors.NothingInstalledError(
                f"cannot {verb} slot {slot}: its {role} was installed, and is not in the configuration any more",
                hint="put it back there, or run upgrade-install again",
            )
        path = devices.find(spec)
        changed = _changed(path, image)
        if changed is not None:
            raise errors.NothingInstalledError(
                f"cannot {verb} slot {slot}: {path} was changed since the installation, at {changed}",
                hint="somebody wrote to it, or mounted it: run upgrade-install again",
            )


def _changed(path: str, image: ImageRecord) -> int | None:
    """Return the offset of the first window that is not what it was, in bytes, or None."""
    window = memoryview(aligned_buffer(WINDOW_BYTES))
    with BlockDevice(path, shared=True) as device:
        for offset, digest in sorted(image.sample.items()):
            length = min(WINDOW_BYTES, image.size - offset)
            if offset + length > device.size:
                return offset
            device.read_into(offset, window[: device.round_up(length)])
            if window_digest(window[:length]).hex() != digest:
                return offset
    return None
