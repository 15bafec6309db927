"""Proves a delta: all windows of a release come out of it, byte for byte."""

from collections.abc import Sequence

from manageboot.disk.buffer import aligned_buffer
from manageboot.disk.digest import WINDOW_BYTES
from manageboot.install import progress
from manageboot.install.progress import Counts, Style
from manageboot.publish.content import Content
from manageboot.publish.packfile import PackFile
from manageboot.release.delta import DeltaIndex
from manageboot.release.deltalayout import Extent
from manageboot.release.deltawindows import DeltaReader
from manageboot.release.frames import Unpacker


def check_delta(delta: DeltaIndex, pack_path: str, old: Sequence[Content], style: Style) -> None:
    """Put all windows together from the old images and the pack.

    Raises:
        ReleaseDigestError, ReleaseFormatError: one is not what release.idx says.
        InputError, NotPermittedError, DeviceError: the pack can't be read.
    """

    def read(wanted: Sequence[tuple[Extent, memoryview]]) -> None:
        for extent, target in wanted:
            target[:] = old[extent.image].extent(extent.first, extent.blocks)

    buffer = memoryview(aligned_buffer(WINDOW_BYTES))
    total = sum(image.windows for image in delta.index.images) * WINDOW_BYTES
    with PackFile(pack_path) as pack, progress.step("prove", total, style) as meter:
        reader = DeltaReader(delta, pack.read, read, Unpacker(delta, pack_path))
        done = 0
        for number, image in enumerate(delta.index.images):
            for window in delta.windows(number):
                reader.fill(image, window, buffer)
                done += WINDOW_BYTES
                meter.update(Counts(done))
