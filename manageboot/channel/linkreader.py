"""Reads the windows of a release out of the pack of a delta, and of the one before it in a chain."""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import accumulate

from manageboot.channel.ahead import Ahead
from manageboot.channel.chain import First, Link
from manageboot.channel.folder import Folder
from manageboot.channel.packreader import PackReader
from manageboot.channel.place import Pack
from manageboot.channel.plan import Plan
from manageboot.channel.seed import Seed, SeedSlot
from manageboot.release import delta as release_delta
from manageboot.release import index as release_index
from manageboot.release.between import Between
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltawindows import OldImages, ReadOld
from manageboot.release.description import INDEX, Delta
from manageboot.release.frames import Unpacker
from manageboot.release.index import Index


class LinkReader(PackReader):
    """Does what a PackReader does."""

    def __init__(self, plan: Plan, pack: Pack, old: OldImages, ahead: Ahead | None) -> None:
        """Read a pack as a plan says; `ahead` has the pack that is read before, in a chain."""
        super().__init__(plan, pack, plan.name, old)
        self._ahead = ahead

    @property
    def bytes_ahead(self) -> int:
        """How much of the first pack of a chain is to be read before all else, in bytes; it shrinks."""
        return 0 if self._ahead is None else self._ahead.bytes_needed

    def fetch_ahead(self, report: Callable[[int], None]) -> None:
        """Read that.

        Args:
            report: is told how many bytes were read.

        Raises:
            ManagebootError: it can't be read, or kept.
        """
        if self._ahead is not None:
            for done in accumulate(self._ahead.fetch()):
                report(done)

    def cancel(self) -> None:
        """Make a read fail that waits for a server; files keep nobody waiting."""
        super().cancel()
        if self._ahead is not None:
            self._ahead.cancel()

    def close(self) -> None:
        """Close the packs; any number of times."""
        super().close()
        if self._ahead is not None:
            self._ahead.close()


def opened(folder: Folder, link: Link, index: Index, full: Plan, slot: SeedSlot, runtime: str) -> LinkReader:
    """Open a delta of a release.

    Args:
        folder: that of the release.
        link: the delta.
        index: that of the release.
        full: the plan of its full pack; what the passive slot has of it is not read.
        slot: what holds the images that the link begins with.
        runtime: the runtime directory.

    Raises:
        ReleaseDigestError, ReleaseFormatError, ReleaseTooNewError: an index is not to be used.
        ManagebootError: something can't be read, or kept.
    """
    delta = link.delta
    found = _index(folder, delta, index)
    plan = Plan(index, folder.name(delta.pack_name), found)
    plan.follow(full)
    seed = Seed(link.seed.images, slot)
    with ExitStack() as stack:
        pack = stack.enter_context(folder.open(delta.pack_name, plan))
        read_old: ReadOld = seed.read
        ahead = None
        if link.first is not None:
            ahead, between = _before(folder, link.first, delta, seed, runtime)
            read_old = between.read
        stack.pop_all()
        return LinkReader(plan, pack, OldImages(found, read_old), ahead)


def _before(folder: Folder, first: First, delta: Delta, seed: Seed, runtime: str) -> tuple[Ahead, Between]:
    """Open the first delta of a chain, and make of it what the second one is from."""
    folder = Folder(folder.place, first.folder)
    index = release_index.verified(folder.read(INDEX, first.release.idx), first.release, folder.name(INDEX))
    found = _index(folder, first.delta, index)
    plan = Plan(index, folder.name(first.delta.pack_name), found)
    with ExitStack() as stack:
        pack = stack.enter_context(folder.open(first.delta.pack_name, plan))
        ahead = Ahead(plan, pack, runtime)
        stack.pop_all()
        return ahead, Between(found, delta.images, ahead.read, seed.read, Unpacker(found, plan.name))


def _index(folder: Folder, delta: Delta, index: Index) -> DeltaIndex:
    return release_delta.verified(folder.read(delta.idx_name, delta.idx), index, delta, folder.name(delta.idx_name))
