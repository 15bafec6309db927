"""Files of a vfat file system that is not mounted: whether one is there, and, through mtools, a new one."""

import os

import grubenv
from grubenv import Inside
from manageboot import errors


def size(place: Inside) -> int | None:
    """Return the size of a file in bytes, or None where there is none.

    Raises:
        grubenv.GrubEnvError: that can't be told, or it is larger than a block can be.
    """
    try:
        return len(grubenv.read_bytes(place))
    except grubenv.AbsentError:
        return None


def put(place: Inside, data: bytes) -> None:
    """Make a file of these bytes, in the place of an empty one if there is one.

    Raises:
        CreateError: mtools are not there, or can't make it.
        DeviceError: the disk can't be flushed.

    Durability: once it returns, the file is on the disk; cut before, it may be there, or not, or be empty.
    """
    import tempfile

    from manageboot import process

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        process.run(
            ["mcopy", "-o", "-i", f"{place.device}@@{place.offset}", file.name, f"::{place.name}"],
            failure=errors.CreateError,
            doing=f"make {place}",
            hint="the program mcopy is of the Debian package mtools",
        )
    try:
        with open(place.device, "rb") as disk:
            os.fsync(disk.fileno())
    except OSError as error:
        raise errors.from_os_error(error, f"flush {place.device}") from error
