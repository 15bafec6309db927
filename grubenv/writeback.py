"""Getting what a journal holds to its place on the disk, where GRUB, which replays no journal, looks for it."""

from __future__ import annotations

import fcntl
import struct

from grubenv import debug

_EXT4_IOC_CHECKPOINT = 0x4004662B


def write_back_journal(descriptor: int) -> bool:
    """Have the journal of the open file's file system written back, without holding up other writers for long.

    ext3 and ext4 can do that since Linux 5.14, for root. Freezing and thawing the file system would do it for
    others too, but a kill between the two would leave it frozen, so this is not done.

    Returns:
        Whether it was done.

    Durability: on return, what was flushed before is where GRUB finds it. Cut in between, GRUB may find any
    mixture of the old and the new directory and inodes.

    Source: Linux fs/ext4/ioctl.c, ext4_ioctl_checkpoint.
    """
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_CHECKPOINT, struct.pack("=I", 0))
    except OSError:
        return False
    if debug.tell:
        debug.tell("write back the journal")
    return True
