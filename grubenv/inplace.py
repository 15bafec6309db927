"""Carrying out planned sector writes on an open file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grubenv import debug, view
from grubenv.errors import DamagedError, GrubEnvError, StorageError

if TYPE_CHECKING:
    from grubenv.order import Step
    from grubenv.storage import Storage


def carry_out(storage: Storage, steps: list[Step], old: bytes) -> str:
    """Write each step's sector, flush it, and in the end compare what the disk holds with what was wanted.

    Args:
        old: what the disk holds before.

    Returns:
        `unchanged` if there are no steps; `direct` or `buffered`, by the way that was taken.

    Raises:
        FlushError, StorageError: `now` of the error says what a reading past the cache found afterwards.

    Durability: on return the last step's image is on the disk; cut before, one of the images is, or `old`.
    """
    if debug.tell:
        planned = ", ".join(f"{step.length} bytes at {step.offset}" for step in steps) or "nothing changes"
        debug.tell("plan for %s: %s", storage.path, planned)
    if not steps:
        return "unchanged"
    target = steps[-1].image
    try:
        for step in steps:
            storage.write_sector(step.image, step.offset, step.length)
            storage.flush()
    except StorageError as error:
        error.now = _what_the_disk_holds(storage, old, target)
        raise
    found = storage.read()
    if found != target:
        offset = next(
            (i for i, (a, b) in enumerate(zip(found, target, strict=False)) if a != b), min(len(found), len(target))
        )
        raise StorageError("what was read back is not what was written", offset=offset)
    if debug.tell:
        debug.tell("compare %s: what was read back is what was wanted", storage.path)
    return "direct" if storage.wrote_direct else "buffered"


def _what_the_disk_holds(storage: Storage, old: bytes, target: bytes) -> str:
    """Read past the cache after a failure, once, without another flush."""
    try:
        found = storage.read()
    except GrubEnvError:
        return "unreadable"
    if found in (old, target):
        return "old" if found == old else "new, but not known to be durable"
    try:
        return "old variables" if view.variables(found) == view.variables(old) else "neither"
    except DamagedError:
        return "damaged"
