"""Whether the images of an update image are such as a slot can hold: by their beginnings, and in the end as a whole.

What is not known to be wrong passes. `install.check_content` turns it off, for who knows better.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from manageboot.errors import ImageContentError
from manageboot.image import content
from manageboot.image.member import BOOT, ROOT, VERSION, Member

_UNLESS = "or set install.check_content = false, if the slot is to hold just that"


class Whole(NamedTuple):
    """What is known of an image that was read to its end."""

    size: int
    """In bytes."""
    zeros: bool
    """Whether it holds nothing else."""
    digest: str


class _Members(Protocol):
    """The part of an update image that this needs."""

    @property
    def known(self) -> list[Member]: ...

    def members(self) -> Iterator[Member]: ...


def checked(update: _Members) -> Iterator[Member]:
    """Give the members of an update image, each after a look at its head; what is known of all is looked at first.

    Raises:
        ImageContentError: one of them is known to be none that a slot can hold.
        DataError, DeviceError: as `UpdateImage.members` raises them.
    """
    files: dict[tuple[int, int], str] = {}
    for member in update.known:
        if member.file is not None and (other := files.setdefault(member.file, member.name)) != member.name:
            hint = "give the boot image, then the root image"
            raise member.error(ImageContentError, f"{member.name} is the same file as {other}", hint=hint)
        _check_head(member)
    for member in update.members():
        _check_head(member)
        yield member


def check_whole(images: Mapping[str, Whole]) -> None:
    """Make sure of what only the whole images tell.

    Args:
        images: what was read, by the names of the members.

    Raises:
        ImageContentError: one is all zeros, or root is what boot is.
    """
    for name, image in images.items():
        if image.zeros:
            message = f"cannot use {name}: it is all zeros"
            raise ImageContentError(message, hint=f"look at how it was made, {_UNLESS}")
    if BOOT in images and ROOT in images and images[BOOT] == images[ROOT]:
        message = f"cannot use {ROOT}: it is the same as {BOOT}"
        raise ImageContentError(message, hint=f"look at how they were made, {_UNLESS}")


def _check_head(member: Member) -> None:
    if member.name == VERSION:
        return
    if not member.data_size:
        hint = f"look at how it was made, {_UNLESS}"
        raise member.error(ImageContentError, f"{member.name} is all zeros", hint=hint)
    if (found := content.foreign(member.head)) is not None:
        cause = f"{member.name} is itself {found.what}, and would be written as it is"
        raise member.error(ImageContentError, cause, hint=f"{found.remedy}, {_UNLESS}")
