"""Three small releases, each with a delta from the one before: the first one leads to the last one."""

import random
from typing import NamedTuple

from manageboot.disk.digest import WINDOW_BYTES
from manageboot.release import description
from manageboot.release.description import Delta, Release
from manageboot.release.layout import BLOCK_BYTES
from support.deltas import Images, changed, with_delta
from support.releases import Small, small_release


class Chain(NamedTuple):
    """The releases 1.0, 1.1 and 1.2."""

    images: tuple[Images, Images, Images]
    old: Small
    between: Small
    new: Small

    @property
    def between_release(self) -> Release:
        return description.parse(self.between.description)

    @property
    def release(self) -> Release:
        return description.parse(self.new.description)

    @property
    def first(self) -> Delta:
        return self.between_release.deltas[0]

    @property
    def second(self) -> Delta:
        return self.release.deltas[0]

    @property
    def cost(self) -> int:
        """What the chain costs, in bytes: all but the release.json of both."""
        files = (self.new.idx, *self.new.deltas.values(), self.between.idx, *self.between.deltas.values())
        return sum(map(len, files))


def chain_of(old: Images, dice: random.Random, *, dictionary_blocks: int | None = None) -> Chain:
    """Make releases; each operation of the second delta needs what each operation of the first one gives."""
    between = changed(old, dice)
    new = {role: bytearray(content) for role, content in changed(between, dice).items()}
    for role, content in new.items():
        # What the first delta has in frames, alone and beside blocks that it copies, across the end of a window.
        for at in range(0, len(content) - 40 * BLOCK_BYTES, 96 * BLOCK_BYTES):
            content[at + 20 * BLOCK_BYTES : at + 24 * BLOCK_BYTES] = between[role][at + 5 * BLOCK_BYTES :][
                : 4 * BLOCK_BYTES
            ]
        if len(content) > 2 * WINDOW_BYTES:
            content[: 4 * BLOCK_BYTES] = between[role][WINDOW_BYTES - 2 * BLOCK_BYTES :][: 4 * BLOCK_BYTES]
    images = {role: bytes(content) for role, content in new.items()}
    more = {"dictionary_blocks": dictionary_blocks}
    first = small_release(old, version="1.0")
    second = with_delta(small_release(between, version="1.1", release_index=2), between, first, old, **more)
    third = with_delta(small_release(images, version="1.2", release_index=3), images, second, between, **more)
    return Chain((old, between, images), first, second, third)
