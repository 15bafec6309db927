"""Recording on this machine: a loop device whose backing file lies on a file system that logs."""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.grubenv.crash.operations import OPERATIONS, Operation, perform
from tests.grubenv.disks import MIB
from tests.support.crashlog import Recording, divide, unpack
from tests.support.logged import logged
from tests.support.loop import loop_device

SIZE = 16 * MIB
"""Large enough for a second super block, from which e2fsck restores a torn first one."""
MARK_ROOM = MIB
"""Behind the file system, so that the marks lie outside of it."""
EXT4 = {"ext4": (), "ext4, no journal": ("-O", "^has_journal")}


def record_ext4(kind: str, directory: Path, operations: Iterable[Operation] = OPERATIONS) -> dict[str, Recording]:
    """Record the operations on ext4, which the kernel of this machine mounts."""
    image = directory / "image"
    log = directory / "log"
    point = directory / "mnt"
    point.mkdir(exist_ok=True)
    image.unlink(missing_ok=True)
    log.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0", *EXT4[kind], image], check=True)
    content = image.read_bytes()
    with image.open("r+b") as file:
        file.truncate(SIZE + MARK_ROOM)
    with logged(image, log, directory / "fuse") as disk, loop_device(disk) as device:
        for operation in operations:
            perform(operation, device, content, "ext4", str(point))
    return divide(unpack(log.read_bytes()), SIZE + MARK_ROOM)
