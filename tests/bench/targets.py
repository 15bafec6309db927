"""The devices that everybody writes to: loop devices whose files are full of old data."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.payload import GIB, Payload
from support.images import MIB
from support.loop import loop_device

SIZES = {"boot": GIB, "root": 10 * GIB, "var": 64 * MIB}
_COMPARE_STEP = 4 * MIB


class Targets(NamedTuple):
    """The passive slot; paths of loop devices, and of the folder with their files."""

    boot: str
    root: str
    var: str
    files: Path

    def fill(self) -> None:
        """Fill them with old data."""
        piece = random.Random("old").randbytes(MIB)
        for name, size in SIZES.items():
            with (self.files / name).open("r+b") as file:
                for _ in range(size // MIB):
                    file.write(piece)

    def differences(self, payload: Payload) -> list[str]:
        """Compare them with the images, and say where they begin to differ."""
        return [
            f"{name} at {offset}"
            for name, image, device in (("boot", payload.boot, self.boot), ("root", payload.root, self.root))
            if (offset := _difference(image, device)) is not None
        ]


@contextmanager
def targets(directory: Path, *, cached: bool) -> Iterator[Targets]:
    """Make the devices; cached, the page cache lies between them and their files, as it does behind no real device."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        with (directory / name).open("ab") as file:
            file.truncate(size)
    with (
        loop_device(directory / "boot", cached=cached) as boot,
        loop_device(directory / "root", cached=cached) as root,
        loop_device(directory / "var", cached=cached) as var,
    ):
        yield Targets(boot, root, var, directory)


def _difference(image: Path, device: str) -> int | None:
    with image.open("rb") as expected, open(device, "rb") as found:
        offset = 0
        while piece := expected.read(_COMPARE_STEP):
            if found.read(len(piece)) != piece:
                return offset
            offset += len(piece)
    return None
