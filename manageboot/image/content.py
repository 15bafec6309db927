"""What an image is, from its first bytes, and whether a slot may hold it as it is.

What is unknown stays unknown, and passes: an image is only called wrong where its beginning says so, and where no file
system, nor anything else that a partition holds, begins like that.
"""

from typing import NamedTuple

from manageboot.image import disks, filesystems, formats, text

HEAD_BYTES = 128 << 10
"""How much is looked at: btrfs, behind 64 KiB, has its superblock last."""

_SHOWN_BYTES = 8  # of an unknown beginning

_DISK_REMEDY = "take the partition out of it: losetup -P shows them as devices"
_TEXT_REMEDY = "look at how it was made or downloaded"
_LFS_REMEDY = "run git lfs pull before it is packed"


class Content(NamedTuple):
    """Something that no slot holds as it is."""

    what: str
    """As in "it is ...", such as "gzip-compressed" or "an HTML page"."""
    remedy: str
    """What to do about it, as a hint says it."""
    name: str
    """As in "inside is ...", such as "gzip" or "an HTML page"."""

    @property
    def is_disk(self) -> bool:
        """Whether it is a whole disk, as it is and not in a format of its own."""
        return self.what.startswith("a whole disk")


def foreign(head: bytes) -> Content | None:
    """Name what can't be in a slot; None for a file system, and for what is unknown.

    Args:
        head: the first HEAD_BYTES of it, or all of it where it is shorter. Zeros are unknown: what follows decides.
    """
    if filesystems.file_system(head) is not None:
        return None
    if (packed := formats.format_of(head)) is not None:
        return Content(*packed)
    if (table := disks.partition_table(head)) is not None:
        what = f"a whole disk with {'a GPT' if table == 'GPT' else 'an MBR'}"
        return Content(what, _DISK_REMEDY, what)
    if (kind := text.kind_of_text(head)) is not None:
        return Content(kind, _LFS_REMEDY if kind == text.LFS_POINTER else _TEXT_REMEDY, kind)
    return None


def describe(head: bytes) -> str | None:
    """Name what something is, as in "it is ..."; None for what is unknown.

    Args:
        head: as for foreign().
    """
    if head and not head.strip(b"\0"):
        return "zeros"
    found = foreign(head)
    return filesystems.file_system(head) if found is None else found.what


def beginning(head: bytes) -> str:
    """Say how something begins that was expected to be something else, as in "it ...".

    Args:
        head: as for foreign().
    """
    what = describe(head)
    if what is None:
        return f"begins with {head[:_SHOWN_BYTES].hex(' ')}"
    shown = text.excerpt(head) if text.kind_of_text(head) is not None else None
    return f"is {what}" + (f" that begins with {shown}" if shown is not None else "")
