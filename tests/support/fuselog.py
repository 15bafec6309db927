# ruff: noqa: ARG002 the signatures are those of fusepy
"""A file system with one file, `disk`, that logs each write and each flush that reaches it. Runs as a process."""

import errno
import os
import stat
import sys

import fuse

from tests.support.crashlog import Flush, Write, pack


class LoggedDisk(fuse.Operations):
    def __init__(self, image: str, log: str) -> None:
        self.image = os.open(image, os.O_RDWR)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.size = os.fstat(self.image).st_size

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == "/disk":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.size}
        raise fuse.FuseOSError(errno.ENOENT)

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", "disk"]

    def open(self, path: str, flags: int) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(self.image, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        os.write(self.log, pack(Write(offset, data)))
        return os.pwrite(self.image, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        os.write(self.log, pack(Flush()))
        return 0


if __name__ == "__main__":
    fuse.FUSE(LoggedDisk(*sys.argv[1:3]), sys.argv[3], foreground=True, direct_io=True, nothreads=True)
