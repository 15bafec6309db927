"""The deltas of a release that is being built, each proved before it is published; and what they are worth."""

import os
from collections.abc import Sequence
from typing import NamedTuple

from manageboot import errors
from manageboot.channel.chain import AHEAD_BYTES_MAX, First, Link
from manageboot.install import progress
from manageboot.install.progress import Counts
from manageboot.publish import content, metadata
from manageboot.publish.content import Content
from manageboot.publish.delta import Way, make
from manageboot.publish.hints import hints
from manageboot.publish.old import Old, read_old
from manageboot.publish.outfile import OutFile
from manageboot.publish.proving import check_delta
from manageboot.release import description
from manageboot.release.delta import DeltaIndex
from manageboot.release.description import Delta, File, Release
from manageboot.release.index import Index
from manageboot.system.beside import beside

_WORTH_PERCENT = 70
"""A delta that is larger, compared with full.pack, saves too little for what it takes on each mirror."""
_ALL_PERCENT = 100


class Deltas(NamedTuple):
    """The deltas that were made."""

    deltas: tuple[Delta, ...]
    said: tuple[str, ...]
    """What each costs, in sentences, and what makes it larger than it need be; and each chain that it ends."""


def make_deltas(olds: Sequence[str], directory: str, roles: tuple[str, ...], way: Way) -> Deltas:
    """Make the deltas from old releases.

    Args:
        olds: directories of releases, or archives.
        directory: of the new release, whose index and pack are there.
        roles: of the images that an archive has to have.
        way: how deltas are made.

    Raises:
        DataError, InputError, UsageError: an old release is bad, can't be read, or is there twice.
        CreateError, NotPermittedError, DeviceError: something can't be written.
    """
    idx_path, pack_path = (os.path.join(directory, name) for name in (description.INDEX, description.PACK))
    index = Index(metadata.read_bytes(idx_path, description.INDEX_BYTES_MAX), idx_path)
    with progress.step("unpack", index.pack_size, way.style) as meter:
        new = content.from_pack(index, pack_path, directory, lambda done: meter.update(Counts(done)))
    deltas: list[Delta] = []
    said = []
    chains: list[tuple[Release, Delta]] = []
    for path in olds:
        old = read_old(path, roles, directory, way.style)
        if any(delta.version == old.version for delta in deltas):
            raise errors.UsageError(f"cannot make a delta from {path}: there is one from {old.version} already")
        delta, larger = _made(old, new, index, directory, way)
        deltas.append(delta)
        said += [_cost(delta, index.pack_size), *(f"from {delta.version}: {hint}" for hint in larger)]
        if old.release is not None:
            chains.append((old.release, delta))
    direct = {delta.version for delta in deltas}
    for between, delta in chains:
        links = [Link(delta, First("", between, one)) for one in between.deltas if one.version not in direct]
        said += [_chain_cost(link, index.pack_size) for link in links]
    return Deltas(tuple(deltas), tuple(said))


def _made(old: Old, new: Sequence[Content], index: Index, directory: str, way: Way) -> tuple[Delta, list[str]]:
    """Make one delta, prove it, and say what makes it larger than it need be."""
    delta = Delta(old.version, old.release_index, old.sha256, old.images, idx=File(0, ""), pack=File(0, ""))
    pack_path, idx_path = (os.path.join(directory, name) for name in (delta.pack_name, delta.idx_name))
    with OutFile(pack_path) as file:
        encoded = make(old.contents, new, file, way)
        pack = file.finish()
    with OutFile(idx_path) as file:
        file.write(encoded)
        idx = file.finish()
    found = DeltaIndex(encoded, index, old.images, idx_path)
    check_delta(found, pack_path, old.contents, way.style)
    larger: list[str] = []
    with beside(f"what makes the delta from {delta.version} larger is not told"):
        larger += hints(old.contents, new, found, way.style)
    return delta._replace(idx=idx, pack=pack), larger


def _cost(delta: Delta, full_bytes: int) -> str:
    sentence, percent = _compared(f"from {delta.version}", Link(delta).bytes, full_bytes)
    return f"{sentence}; that is hardly worth publishing" if percent > _WORTH_PERCENT else sentence


def _chain_cost(link: Link, full_bytes: int) -> str:
    """Say what a node fetches that has an older release yet, for which there is no delta of its own."""
    old = link.seed.version
    sentence, percent = _compared(f"from {old} through {link.delta.version}", link.bytes, full_bytes)
    if link.seed.pack.size > AHEAD_BYTES_MAX:
        return f"{sentence}; nodes take full.pack instead, since from-{old}.pack is too large for a chain"
    if percent >= _ALL_PERCENT:
        return f"{sentence}; nodes take full.pack instead"
    return f"{sentence}; a delta from {old} would cost less" if percent > _WORTH_PERCENT else sentence


def _compared(what: str, cost: int, full_bytes: int) -> tuple[str, float]:
    percent = 100 * cost / full_bytes
    return f"{what}: {cost} bytes, {percent:.1f} % of full.pack", percent
