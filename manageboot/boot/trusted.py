"""The trusted slot: which one GRUB takes when the environment block says nothing, as it is damaged, empty or gone.

It is the one variable of a block of its own beside the first, `manageboot.env`. It is written after the environment
block, never with it, once a slot is trusted; cut in between, it names the one trusted before, until the next verb that
writes brings it up to date.
"""

import os

import grubenv
from grubenv import Inside
from manageboot.protocol import Slot

FILE_NAME = "manageboot.env"
VARIABLE = "mb_trusted"


def path_of(block: str | Inside) -> str | Inside:
    """Return the path of the second block, from that of the first."""
    if isinstance(block, Inside):
        return block.beside(FILE_NAME)
    return os.path.join(os.path.dirname(os.path.realpath(block)), FILE_NAME)


def read(block: str | Inside) -> Slot | None:
    """Return the trusted slot, from the path of the environment block; None: none is named, or it can't be read."""
    try:
        return taken_by_grub(block)
    except grubenv.NotPermittedError:
        return None


def taken_by_grub(block: str | Inside) -> Slot | None:
    """Return the slot that GRUB takes where the block says nothing; as `read`, but one we may not read is an error.

    Raises:
        grubenv.NotPermittedError: we may not read it. GRUB can, so what it takes is not known.
    """
    try:
        value = grubenv.query(path_of(block)).get(VARIABLE, "")
    except grubenv.NotPermittedError:
        raise
    except grubenv.GrubEnvError:
        # For GRUB too an unreadable one is none; `doctor` says what is wrong with it.
        return None
    return Slot(value) if value in tuple(Slot) else None


def write(block: str | Inside, slot: Slot) -> None:
    """Name the trusted slot.

    The first block may lie in a directory of somebody who may not write elsewhere: no link is followed, and what is
    no block is never replaced by one.

    Raises:
        grubenv.GrubEnvError: it can't be written; GRUB still has the first block to go by.

    Durability: once it returns, it is on the disk and was read back; before, it names the old slot or the new one.
    """
    path = path_of(block)
    wanted = {VARIABLE: slot.value}
    try:
        grubenv.update(path, wanted, create_missing=True, follow_link=False)
    except grubenv.DamagedError:
        if isinstance(path, Inside):
            raise
        if not _was_block(grubenv.read_bytes(path)):
            raise grubenv.CannotCreateError(
                "what is there is not an environment block, and is left as it is", verb="create", path=path
            ) from None
        grubenv.create(path, follow_link=False)
        grubenv.update(path, wanted, follow_link=False)


def _was_block(data: bytes) -> bool:
    """Tell whether a damaged file can only have been a block: by its signature, or as what a power cut left of one."""
    return data.startswith(grubenv.SIGNATURE) or (len(data) <= grubenv.DEFAULT_SIZE and not data.strip(b"\0"))
