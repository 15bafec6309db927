"""The file of the environment block: on a file system like any other, or inside one that is not mounted."""

import os
import stat

import grubenv
from grubenv import Inside
from manageboot import errors
from manageboot.system import console, files

SCRIPT_NAME = "grub.cfg"


def is_empty(path: str | Inside) -> bool:
    """Return whether there is a file of 0 bytes.

    Raises:
        FileNotFoundError: there is none.
        OSError, grubenv.GrubEnvError: that can't be told.
    """
    if not isinstance(path, Inside):
        status = os.stat(path)
        return status.st_size == 0 and stat.S_ISREG(status.st_mode)
    size = _size(path)
    if size is None:
        raise FileNotFoundError
    return size == 0


def require_script(path: str | Inside) -> None:
    """Make sure that GRUB's own configuration lies beside it, so that GRUB would find a block that is made here.

    Raises:
        BlockMissingError: it does not.
        InputError, DeviceError, NotPermittedError, grubenv.GrubEnvError: that can't be told.
    """
    if isinstance(path, Inside):
        there = _size(path.beside(SCRIPT_NAME)) is not None
        hint = "boot.grub_partition has to name the partition that GRUB reads"
    else:
        # A link may lead to another file system, and that is the one that has to be there.
        directory = os.path.dirname(os.path.realpath(path))
        there = files.is_there(os.path.join(directory, SCRIPT_NAME))
        hint = f"mount what GRUB reads at {directory}, or make a block with `grubenv {path} create`"
    if not there:
        raise errors.BlockMissingError(
            f"cannot use {path}: it does not exist, and neither does a {SCRIPT_NAME} beside it", hint=hint
        )


def flush(path: str | Inside) -> None:
    """Force down what was written to it.

    Raises:
        DeviceError: it failed, and that is final.
    """
    try:
        with open(path.device if isinstance(path, Inside) else path, "rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise errors.from_os_error(error, f"flush {path}") from error
    if console.debug:
        console.debug("flush %s", path)


_MCOPY_HINT = "the program mcopy is in the Debian package mtools"


def require_maker(place: Inside) -> None:
    """Make sure that `make_inside` finds its program, if it needs it, and that mtools read the file system.

    Raises:
        CreateError: it does not, or they don't, as FAT32 of fewer clusters than the specification wants.
        grubenv.GrubEnvError: it can't be told whether there is a file.
    """
    if _size(place):
        return
    import shutil

    from manageboot.system import process

    if shutil.which("mcopy", path=process.search_path()) is None:
        raise errors.CreateError(f"cannot make {place}: there is no program mcopy", hint=_MCOPY_HINT)
    process.run(
        ["mdir", "-i", f"{place.device}@@{place.offset}", "::"],
        failure=errors.CreateError,
        doing=f"make {place}",
        hint="GRUB may read it, though mtools can't: mount it, and make the block with `grubenv FILE create`",
    )


def make_inside(place: Inside, data: bytes) -> None:
    """Make a file of these bytes inside a file system that is not mounted, if there is none, or an empty one.

    Raises:
        CreateError: mtools are not there, or can't make it.
        DeviceError: the disk can't be flushed.
        grubenv.GrubEnvError: it can't be told whether there is one.

    Durability: once it returns, the file is on the disk; cut before, it may be there, or not, or be empty.
    """
    if _size(place):
        return
    import tempfile

    from manageboot.system import process  # no query makes a file

    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            process.run(
                ["mcopy", "-o", "-i", f"{place.device}@@{place.offset}", file.name, f"::{place.name}"],
                failure=errors.CreateError,
                doing=f"make {place}",
                hint=_MCOPY_HINT,
            )
    except OSError as error:
        raise errors.from_os_error(
            error, f"make {place} out of a temporary file", errors.CreateError, hint="TMPDIR names its directory"
        ) from error
    flush(place)


def _size(place: Inside) -> int | None:
    """Return the size of a file in bytes, or None where there is none."""
    try:
        return len(grubenv.read_bytes(place))
    except grubenv.AbsentError:
        return None
