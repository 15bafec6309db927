"""The update image: open it, whichever form it has.

It is an archive, compressed or not, with boot.img, root.img and VERSION.TXT, or it is two image files. Where slots have
other roles, the archive has an image for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from manageboot.errors import UsageError
from manageboot.image.archive import Archive
from manageboot.image.imagefiles import ImageFiles
from manageboot.image.member import BOOT, ROOT, VERSION, Member, member_name
from manageboot.image.source import is_url

__all__ = ["BOOT", "ROOT", "VERSION", "Member", "UpdateImage", "member_name", "open_image"]


class UpdateImage(Protocol):
    """An update image that is read from its first byte to its last; a context manager that closes it."""

    @property
    def format(self) -> str:
        """Its form: "tar", "tar.zst", "tar.gz", "tar.xz", "tar.bz2" or "files"."""
        ...

    @property
    def bytes_total(self) -> int | None:
        """The size of the input as given; None for a pipe, and where a server does not say it."""
        ...

    @property
    def bytes_read(self) -> int:
        """How much of bytes_total has been read so far; any thread may ask."""
        ...

    @property
    def known(self) -> list[Member]:
        """Those of the members whose sizes and heads can be looked at before any is read."""
        ...

    @property
    def sha256(self) -> str | None:
        """The SHA-256 of the archive as given, in hexadecimal.

        None before members() has come to its end, and for image files: there the digest of each image says it all.
        """
        ...

    @property
    def ignored(self) -> Sequence[str]:
        """The names of the members that have no place in an update image and were skipped."""
        ...

    @property
    def remarks(self) -> Sequence[str]:
        """What else is odd about it and does no harm, in sentences."""
        ...

    def members(self) -> Iterator[Member]:
        """Give the members once, in the order in which they come; each is used up before the next is asked for.

        When it ends, the whole input has been read and found good; until then nothing says that it is.

        Raises:
            ImageFormatError: the input breaks the rules of its format.
            ImageTruncatedError: the input ends too early.
            ImageMemberError: a member is missing, there twice, empty, too large, or has no place there.
            DeviceError: reading failed.
        """
        ...

    def cancel(self) -> None:
        """Make a read that waits for input fail; any thread may ask, and more than once."""
        ...

    def close(self) -> None:
        """Close the input."""
        ...

    def __enter__(self) -> Self:
        """Return the update image itself."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the input."""
        ...


def open_image(
    paths: Sequence[str], images: Sequence[str] = (BOOT, ROOT), *, channel: Mapping[str, Any] | None = None
) -> UpdateImage:
    """Open an update image and find out its form, from its first bytes alone.

    Args:
        paths: one archive, where `-` is standard input, or the boot image and the root image.
        images: the names of the images that it has to have.
        channel: how to fetch an archive whose path is a URL; None: no path is one.

    Raises:
        FetchError, FetcherError: it can't be fetched.
        ConfigError: it can't be fetched so.
        UsageError: there are neither one nor two paths, standard input or a URL is one of two, or there are two, and
            the images are not boot and root; or a URL is not that of a file.
        InputError: an input can't be opened, or is of a kind that can't be an update image.
        NotPermittedError: the caller may not read it.
        ImageTruncatedError: an input is empty.
        ImageFormatError: an input begins like nothing that we know.
        DeviceError: reading failed.
    """
    match paths:
        case [url] if channel is not None and is_url(url):
            # Imported here: who installs from a file needs no network.
            from manageboot.image.remote import RemoteInput

            return Archive(RemoteInput(url, channel), images)
        case [_, _] if channel is not None and any(map(is_url, paths)):
            raise UsageError("cannot read an update image: only an archive can be fetched, not one of two images")
        case [archive]:
            return Archive(archive, images)
        case [boot, root] if set(images) == {BOOT, ROOT}:
            return ImageFiles(boot, root)
    wanted = (
        "one archive or two image files" if set(images) == {BOOT, ROOT} else f"one archive with {', '.join(images)}"
    )
    message = f"cannot read an update image: it is {wanted}, and {len(paths)} paths are given"
    raise UsageError(message)
