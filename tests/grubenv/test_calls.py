"""Every call to the system made to fail, one after the other: only typed errors come of it, and never half a block."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import grubenv
from grubenv.errors import GrubEnvError
from grubenv.repairing import repair
from tests.grubenv.blocks import SAMPLE, block

CALLS = [
    *((os, name) for name in ("stat", "open", "fstat", "pread", "preadv", "pwrite", "pwritev", "write", "fsync")),
    *((os, name) for name in ("fdatasync", "rename", "link", "unlink", "fchown", "fchmod", "listxattr", "mkdir")),
    *((os, name) for name in ("readlink", "lstat", "getcwd", "posix_fadvise")),
    (fcntl, "flock"),
    (fcntl, "fcntl"),
    (fcntl, "ioctl"),
    (mmap, "mmap"),
]
DAMAGED = SAMPLE[:1000] + b"x" + b"#" * 23
CHANGE = {"boot_cycle": "first_boot"}
VERBS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "query": (SAMPLE, grubenv.query),
    "read": (SAMPLE, grubenv.read),
    "check": (SAMPLE, grubenv.check),
    "update": (SAMPLE, lambda path: grubenv.update(path, CHANGE)),
    "make": (b"", lambda path: grubenv.update(path, CHANGE, create_missing=True)),
    "create": (SAMPLE, grubenv.create),
    "create anew": (DAMAGED, grubenv.create),
    "repair": (DAMAGED, repair),
    "repair anew": (block(b"a=1\n", 600), lambda path: repair(path, CHANGE)),
}


class Failing:
    """The calls to the system, of which one fails."""

    def __init__(self, patch: pytest.MonkeyPatch, victim: int, number: int) -> None:
        self.calls = 0
        self.victim = victim
        self.number = number
        for module, name in CALLS:
            patch.setattr(module, name, self._wrapped(getattr(module, name)))

    def _wrapped(self, call: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **named: object) -> object:
            self.calls += 1
            if self.calls == self.victim:
                raise OSError(self.number, os.strerror(self.number))
            return call(*arguments, **named)

        return wrapper


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOENT])
@pytest.mark.parametrize("verb", VERBS)
def test_each_call_fails_once(tmp_path: Path, verb: str, number: int) -> None:
    data, act = VERBS[verb]
    victim = 0
    while True:
        victim += 1
        path = tmp_path / str(victim) / "grubenv"
        path.parent.mkdir()
        path.write_bytes(data)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, victim, number)
            try:
                act(path)
            except GrubEnvError as error:
                assert str(error).startswith("cannot ")
        after = path.read_bytes()
        if after != data:
            grubenv.EnvBlock.parse(after)
        if failing.calls < victim:
            break
