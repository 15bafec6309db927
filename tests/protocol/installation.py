"""The real installation, on a slot in memory: what is in it at each instant, and what a power cut leaves of it."""

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from unittest import mock

from manageboot.boot.header import HEADER_BYTES
from manageboot.config import Config
from manageboot.install import install

VOID, NEW, TORN, SAME = "void", "new", "torn", ""
"""What a slot holds: nothing that can be loaded, the whole image, anything else that can be, what was there before."""

_OLD = {"boot": b"b" * (HEADER_BYTES + 65536), "root": b"r" * 65536, "var": b"v" * 4096}
_IMAGES = {"boot": b"B" * (HEADER_BYTES + 65536), "root": b"R" * 65536}


class MemoryDevice:
    """A block device with a write cache: what the interface of `manageboot.disk.blockdev.BlockDevice` does to bytes."""

    block_size = 512
    direct = True
    zeroes_itself = True

    def __init__(self, path: str, content: bytes, changed: Callable[[], None]) -> None:
        self.path = path
        self.size = len(content)
        self.cached = bytearray(content)
        self.durable = content
        self._changed = changed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, offset: int, data: memoryview) -> None:
        self.cached[offset : offset + len(data)] = data
        self._changed()

    def zero(self, offset: int, length: int) -> None:
        self.cached[offset : offset + length] = bytes(length)
        self._changed()

    def flush(self) -> None:
        self.durable = bytes(self.cached)
        self._changed()

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self.cached[offset : offset + len(buffer)]

    def round_up(self, length: int) -> int:
        return -(-length // self.block_size) * self.block_size


class PassiveSlot:
    """The devices of the slot that is written; full of another image at first."""

    def __init__(self, see: Callable[[str, str], None]) -> None:
        """Make the devices; `see` is told what a kill and a power cut leave, whenever that may have changed."""
        self._see = see
        self._devices = {role: MemoryDevice(role, content, self._look) for role, content in _OLD.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the installation find these devices."""
        with ExitStack() as stack:
            for name, value in (
                ("writable_devices", lambda *_: {role: role for role in self._devices}),
                ("BlockDevice", lambda path: self._devices[path]),
                ("diskusers", mock.Mock(require_unused=lambda _: None)),
            ):
                stack.enter_context(mock.patch.object(install, name, value))
            yield

    def _look(self) -> None:
        # After a kill all that was written is there; after a power cut, in the worst case, only what was flushed.
        boot, root = self._devices["boot"], self._devices["root"]
        self._see(_content(bytes(boot.cached), bytes(root.cached)), _content(boot.durable, root.durable))


def _content(boot: bytes, root: bytes) -> str:
    if not any(boot[:HEADER_BYTES]):
        return VOID
    if (boot, root) == (_OLD["boot"], _OLD["root"]):
        return SAME
    return NEW if (boot, root) == (_IMAGES["boot"], _IMAGES["root"]) else TORN


def make_update(path: Path) -> None:
    """Make the update image."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in {**{f"{role}.img": data for role, data in _IMAGES.items()}, "VERSION.TXT": b"2\n"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def run(config: Config, update: Path, see: Callable[[str, str], None]) -> None:
    """Install into the passive slot; everything but the devices is as on a node."""
    with PassiveSlot(see).in_place():
        install.install(config, [str(update)], sha256=None, progress="none")
