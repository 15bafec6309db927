"""Devices in memory, for what writes images and does not care what a device is."""

from collections.abc import Iterable, Mapping

from manageboot.install.imagewriter import ImageWriter


class Disk:
    """A device in memory, which counts what it is given."""

    path = "a disk"

    def __init__(self, size: int = 4 << 20, fill: bytes = b"x") -> None:
        self.size = size
        self.content = bytearray(fill * size)

    @staticmethod
    def round_up(length: int) -> int:
        return -(-length // 512) * 512

    def write(self, offset: int, data: memoryview) -> None:
        self.content[offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        self.content[offset : offset + length] = bytes(length)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.content[offset : offset + len(buffer)]

    def flush(self) -> None:
        pass


def blank_disks(names: Iterable[str], size: int) -> dict[str, Disk]:
    """Make disks of zeros, by their names."""
    return {name: Disk(size, b"\0") for name in names}


def writers_of(disks: Mapping[str, Disk], *, header_last: str | None = None) -> dict[str, ImageWriter]:
    """Make what writes images to disks, by the same names; the header of one may come last."""
    return {
        name: ImageWriter(disk, header_last=name == header_last)  # type: ignore[arg-type]  # it does what a block device does
        for name, disk in disks.items()
    }
