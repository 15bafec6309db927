"""Whether a slot still holds what was installed: by a sample, or, where the system is stopped, as a whole.

The record is not enough: it may be older than the slot. Whoever mounted the slot, or wrote an image there by hand, did
not note that. To read the whole would take minutes; some windows of each image, the first one among them, take a
moment, and show an image that was overwritten, and a file system that was mounted and changed.

Of a stopped system the whole is read. It may have run since, and have installed something itself, and its own records
are out of reach.
"""

from collections.abc import Iterable, Iterator

from manageboot import errors
from manageboot.boot.node import Node
from manageboot.boot.record import ImageRecord, SlotRecord
from manageboot.config import Config
from manageboot.disk import devices
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES, ImageDigest, window_digest
from manageboot.protocol import Content, Slot, Verb


def require(config: Config, node: Node, verb: Verb) -> None:
    """Make sure that the passive slot, if it was installed, holds what its record knows of it.

    Where there is no sample, because an older version wrote the record, or no record, nothing is checked.

    Raises:
        NothingInstalledError: it holds something else, or a part of it is not in the configuration any more.
        DeviceMissingError, DeviceAmbiguousError, NotPermittedError, DeviceError: it can't be read.
    """
    slot = node.booted.other
    entry = node.records.get(slot)
    if entry is None:
        return
    if not node.offline:
        _require_sample(config, slot, entry, verb)
    elif entry.content is Content.INSTALLED:
        _require_whole(config, slot, entry, verb)


def _require_sample(config: Config, slot: Slot, entry: SlotRecord, verb: Verb) -> None:
    wanted = config.install.check_sample
    for role, image in (entry.images or {}).items():
        is_wanted = wanted if isinstance(wanted, bool) else role in wanted
        if not is_wanted or not image.sample:
            continue
        path = _device(config, slot, role, verb)
        changed = _changed(path, image)
        if changed is not None:
            raise errors.NothingInstalledError(
                f"cannot {verb} slot {slot}: {path} was changed since the installation, at {changed}",
                hint="somebody wrote to it, or mounted it: run upgrade-install again",
            )


def _require_whole(config: Config, slot: Slot, entry: SlotRecord, verb: Verb) -> None:
    for role, image in (entry.images or {}).items():
        if not _holds_all(_device(config, slot, role, verb), image):
            raise errors.NothingInstalledError(
                f"cannot {verb} slot {slot}: its {role} was changed since the installation",
                hint="the system ran since, or somebody wrote to its disk: run upgrade-install again",
            )


def _device(config: Config, slot: Slot, role: str, verb: Verb) -> str:
    spec = config.slots[slot].get(role)
    if spec is None:
        raise errors.NothingInstalledError(
            f"cannot {verb} slot {slot}: its {role} was installed, and is no longer in the configuration",
            hint="put it back there, or run upgrade-install again",
        )
    return devices.find(spec)


def _changed(path: str, image: ImageRecord) -> int | None:
    """Return the offset of the first window of the sample that is not what it was, in bytes, or None."""
    with BlockDevice(path, shared=True) as device:
        for offset, window in _windows(device, image, sorted(image.sample)):
            if window is None or window_digest(window).hex() != image.sample[offset]:
                return offset
    return None


def _holds_all(path: str, image: ImageRecord) -> bool:
    digest = ImageDigest()
    with BlockDevice(path, shared=True) as device:
        for offset, window in _windows(device, image, range(0, image.size, WINDOW_BYTES)):
            if window is None:
                return False
            digest.add(offset, window)
    return digest.hexdigest(image.size) == image.digest


def _windows(
    device: BlockDevice, image: ImageRecord, offsets: Iterable[int]
) -> Iterator[tuple[int, memoryview | None]]:
    """Read windows of an image; None for one that the device has no room for."""
    buffer = memoryview(aligned_buffer(WINDOW_BYTES))
    for offset in offsets:
        length = min(WINDOW_BYTES, image.size - offset)
        if offset + length > device.size:
            yield offset, None
            continue
        device.read_into(offset, buffer[: device.round_up(length)])
        yield offset, buffer[:length]
