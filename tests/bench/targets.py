"""The devices that everybody writes to: loop devices whose files are full of old data."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.payload import MIB, Payload, Shape
from support.ending import end_if_asked
from support.loop import loop_device

VAR_SIZE = 64 * MIB
_COMPARE_STEP = 4 * MIB


class Targets(NamedTuple):
    """The passive slot; paths of loop devices, and of the folder with their files."""

    boot: str
    root: str
    var: str
    files: Path

    @property
    def devices(self) -> tuple[str, str, str]:
        """The paths of the devices."""
        return self.boot, self.root, self.var

    def fill(self) -> None:
        """Fill them with old data."""
        for name in ("boot", "root", "var"):
            fill(self.files / name)

    def differences(self, payload: Payload) -> list[str]:
        """Compare them with the images, and say where they begin to differ."""
        return [
            f"{name} at {offset}"
            for name, image, device in zip(("boot", "root"), payload.images, self.devices, strict=False)
            if (offset := difference(image, device)) is not None
        ]


@contextmanager
def targets(directory: Path, shape: Shape, *, cached: bool) -> Iterator[Targets]:
    """Make the devices; cached, the page cache lies between them and their files, as it does behind no real device."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, size in (("boot", shape.boot_size), ("root", shape.root_size), ("var", VAR_SIZE)):
        with (directory / name).open("ab") as file:
            file.truncate(size)
    with (
        loop_device(directory / "boot", cached=cached) as boot,
        loop_device(directory / "root", cached=cached) as root,
        loop_device(directory / "var", cached=cached) as var,
    ):
        yield Targets(boot, root, var, directory)


def fill(path: Path) -> None:
    """Fill the file of a device with old data."""
    piece = random.Random("old").randbytes(MIB)
    with path.open("r+b") as file:
        for _ in range(os.fstat(file.fileno()).st_size // MIB):
            file.write(piece)
            end_if_asked()


def difference(image: Path, device: str) -> int | None:
    """Return where a device begins to differ from an image; None: nowhere."""
    with image.open("rb") as expected, open(device, "rb") as found:
        offset = 0
        while piece := expected.read(_COMPARE_STEP):
            if found.read(len(piece)) != piece:
                return offset
            offset += len(piece)
            end_if_asked()
    return None
