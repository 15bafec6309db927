"""A file system whose files are the disks of a test: it counts what reaches them, and fails as it is told to.

It runs in a process of its own (`python faultydisk.py MOUNTPOINT BACKING`), and each file in the folder BACKING is a
disk. A loop device over such a file sends every write and every flush here. The plan is written to the file `control`:
JSON with the number of the event that is to fail, and how; reading that file tells which there were. With a `name`,
such as "write root", only events of that name are counted. With `cut`, the power goes at once. With `over`, what
has not failed yet does not fail any more, and a power that has gone stays away.
"""

# ruff: noqa: ARG002  the signatures are fusepy's

import errno
import json
import os
import random
import stat
import sys
from typing import Any

import fuse

SECTOR = 512
CONTROL = "/control"
MODES = ("eio", "enospc", "torn", "lie", "cut", "lost", "part")
"""What happens to the n-th write or flush.

eio, enospc: it fails, and nothing of it lands; what comes later works.
torn: half of its sectors land, then the power goes: all that comes later fails.
lie: half of its sectors land, and it is called a success.
cut: it lands, and it is the last thing that does.
lost: as cut, and what was written since the last flush of each disk is lost too.
part: as lost, but each of those writes is lost or not as a die falls.
"""


class FaultyDisks(fuse.Operations):  # type: ignore[misc]
    """The operations that a loop device needs."""

    def __init__(self, backing: str) -> None:
        self._backing = backing
        self._unflushed: dict[str, list[tuple[int, bytes, bytes]]] = {}
        self._events: list[str] = []
        self._plan: dict[str, Any] = {"event": None, "mode": None}
        self._armed = True
        self._dead = False

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        if path == CONTROL:
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": 0}
        try:
            status = os.lstat(self._backing + path)
        except OSError as error:
            raise fuse.FuseOSError(error.errno) from error
        return {name: getattr(status, name) for name in ("st_mode", "st_nlink", "st_size")}

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._backing)]

    def open(self, path: str, flags: int) -> int:
        return 0 if path == CONTROL else os.open(self._backing + path, os.O_RDWR)

    def release(self, path: str, fh: int) -> int:
        if path != CONTROL:
            os.close(fh)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if path == CONTROL:
            return json.dumps(self._events).encode()[offset : offset + size]
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        if path == CONTROL:
            self._follow(json.loads(data))
            return len(data)
        fault = self._next_fault("write", path)
        landing = data
        if fault in {"torn", "lie"}:
            landing = data[: len(data) // SECTOR // 2 * SECTOR]
        self._unflushed.setdefault(path, []).append((offset, os.pread(fh, len(landing), offset), landing))
        os.pwrite(fh, landing, offset)
        if fault == "torn":
            raise fuse.FuseOSError(errno.EIO)
        return len(data)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        if path != CONTROL:
            self._next_fault("flush", path)
            self._unflushed.pop(path, None)
        return 0

    def flush(self, path: str, fh: int) -> int:
        return 0  # of a descriptor that is closed; no disk hears of it

    def _follow(self, plan: dict[str, Any]) -> None:
        """Begin to count anew. What was not flushed stays with the probability `keep`, else it is taken back."""
        if plan.get("cut"):
            self._dead = True
            return
        if plan.get("over"):
            self._armed = False
            return
        keep = plan.pop("keep", 1)
        # The same fault always costs the same, however many events there were.
        dice = random.Random(self._plan["event"] or 0)
        for path, writes in self._unflushed.items():
            with open(self._backing + path, "r+b") as file:
                for offset, old, _ in reversed(writes):
                    file.seek(offset)
                    file.write(old)
                for offset, _, new in writes:
                    if dice.random() < keep:
                        file.seek(offset)
                        file.write(new)
        self._unflushed = {}
        self._events = []
        self._plan = plan
        self._armed = True
        self._dead = False

    def _number(self, name: str | None) -> int:
        """Return how many events there were, of one name or of all."""
        return len(self._events) if name is None else self._events.count(name)

    def _next_fault(self, kind: str, path: str) -> str | None:
        if self._dead:
            raise fuse.FuseOSError(errno.EIO)
        event = f"{kind} {path[1:]}"
        self._events.append(event)
        name = self._plan.get("name")
        if not self._armed or name not in {None, event} or self._plan["event"] != self._number(name):
            return None
        mode: str = self._plan["mode"]
        if mode == "eio":
            raise fuse.FuseOSError(errno.EIO)
        if mode == "enospc":
            raise fuse.FuseOSError(errno.ENOSPC)
        if kind == "flush" and mode in {"torn", "lie"}:
            self._dead = mode == "torn"
            raise fuse.FuseOSError(errno.EIO)
        self._dead = mode in {"torn", "cut", "lost", "part"}
        return mode


if __name__ == "__main__":
    fuse.FUSE(FaultyDisks(sys.argv[2]), sys.argv[1], foreground=True, nothreads=True, big_writes=True, direct_io=True)
