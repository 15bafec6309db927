"""Files of a FAT file system, written by hand: mtools refuse some that GRUB reads. GRUB is the judge of the result."""

import os
import struct
import subprocess
from pathlib import Path

MIB = 1 << 20


def make_fat(path: Path, size: int, *options: str) -> "FatDisk":
    """Make an image with the options of mkfs.vfat."""
    with path.open("wb") as file:
        file.truncate(size)
    done = subprocess.run(["mkfs.vfat", *options, path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done
    return FatDisk(path)


class FatDisk:
    """An image that is one FAT file system, or that has one at an offset."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        sector = self.read(0, 512)
        self.sector, self.per_cluster, self.reserved, self.fats, self.entries, short, _, per_fat = struct.unpack_from(
            "<HBHBHHBH", sector, 11
        )
        self.wide = not per_fat
        self.per_fat = per_fat or struct.unpack_from("<L", sector, 36)[0]
        self.total = short or struct.unpack_from("<L", sector, 32)[0]
        self.root = (self.reserved + self.fats * self.per_fat) * self.sector
        self.data = self.root + -(-self.entries * 32 // self.sector) * self.sector
        self.cluster = self.per_cluster * self.sector
        self.clusters = (self.total * self.sector - self.data) // self.cluster
        self._free = 3 if self.wide else 2

    def read(self, at: int, size: int) -> bytes:
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), size, self.offset + at)

    def write(self, at: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            os.pwrite(file.fileno(), data, self.offset + at)

    def link(self, cluster: int, value: int, bits: int) -> None:
        """Write an entry into every FAT."""
        for fat in range(self.fats):
            start = (self.reserved + fat * self.per_fat) * self.sector
            if bits == 12:
                at = start + cluster * 3 // 2
                pair = struct.unpack("<H", self.read(at, 2))[0]
                mask, shift = (0xFFF0, 4) if cluster & 1 else (0x0FFF, 0)
                self.write(at, struct.pack("<H", pair & ~mask & 0xFFFF | (value & 0xFFF) << shift))
            else:
                self.write(start + cluster * bits // 8, value.to_bytes(bits // 8, "little"))

    def put(self, name: bytes, data: bytes, *, bits: int, step: int = 1) -> None:
        """Put a file into the root directory, under its name in eleven characters; its clusters lie `step` apart."""
        count = -(-len(data) // self.cluster)
        chain = [self._free + index * step for index in range(count)]
        self._free = chain[-1] + 1
        for index, cluster in enumerate(chain):
            piece = data[index * self.cluster : (index + 1) * self.cluster]
            self.write(self.data + (cluster - 2) * self.cluster, piece)
            self.link(cluster, chain[index + 1] if index + 1 < count else (1 << min(bits, 28)) - 1, bits)
        directory = self.data if self.wide else self.root
        slot = next(at for at in range(directory, directory + 512, 32) if self.read(at, 1) in {b"\0", b"\xe5"})
        entry = struct.pack("<11sB8xH4xHL", name, 0x20, chain[0] >> 16, chain[0] & 0xFFFF, len(data))
        self.write(slot, entry)

    def grub_reads(self, name: str) -> bytes | None:
        """What GRUB reads; None where it finds no such file, or no file system."""
        assert not self.offset
        done = subprocess.run(
            ["grub-fstest", self.path, "cat", f"(loop0)/{name}"], capture_output=True, check=False, timeout=60
        )
        return None if b"error:" in done.stderr else done.stdout
