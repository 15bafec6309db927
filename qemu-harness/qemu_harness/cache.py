"""What was built, kept under a name made from everything that went into it."""

import contextlib
import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger(__name__)

REPOSITORY = Path(__file__).resolve().parents[2]
# Old entries are removed so that a day of edited sources does not fill the disk.
KEPT_PER_KIND = 8
SPARED_SECONDS = 900


def content_key(*parts: str | Path) -> str:
    """Give a name for the content of strings, and of files and directory trees that are named by a path."""
    digest = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part) if isinstance(part, Path) else [part.encode()]:
            digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:16]


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield what makes up a tree: for each file its name, whether it is executable, and its content."""
    files = sorted(path.rglob("*")) if path.is_dir() and not path.is_symlink() else [path]
    for file in files:
        if "__pycache__" in file.parts:
            continue
        yield str(file.relative_to(path)).encode()
        if file.is_symlink():
            yield b"link " + os.fsencode(file.readlink())
        elif file.is_file():
            executable = bool(file.stat().st_mode & stat.S_IXUSR)
            yield b"executable" if executable else b"plain"
            yield file.read_bytes()


class Cache:
    """A directory of built things."""

    def __init__(self, directory: Path) -> None:
        """Use a directory, which is made when it is first needed."""
        self.directory = directory

    @classmethod
    def default(cls) -> "Cache":
        """Give the cache named by MANAGEBOOT_CACHE, or the one inside the repository."""
        named = os.environ.get("MANAGEBOOT_CACHE")
        return cls(Path(named).absolute() if named else REPOSITORY / ".cache" / "qemu-harness")

    def entry(self, kind: str, key: str, build: Callable[[Path], None]) -> Path:
        """Give the directory of an entry, and let `build` fill it first when there is none.

        An entry appears complete or not at all, and two processes that want the same one build it once.
        """
        final = self.directory / f"{kind}-{key}"
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._lock(f"{kind}-{key}"):
            if not final.is_dir():
                started = time.monotonic()
                log.info("building %s ...", final.name)
                with tempfile.TemporaryDirectory(prefix=f"{kind}.", dir=self.directory) as scratch:
                    content = Path(scratch, "content")
                    content.mkdir()
                    build(content)
                    content.rename(final)
                log.info("built %s in %.1f s", final.name, time.monotonic() - started)
                self._prune(kind)
            os.utime(final)
        return final

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """Keep others from building the same entry; the lock ends with its holder."""
        with Path(self.directory, f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _prune(self, kind: str) -> None:
        """Remove the entries of a kind that were not used for longest."""
        entries = [path for path in self.directory.glob(f"{kind}-*") if path.is_dir()]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[KEPT_PER_KIND:]:
            # Another process may be copying from an entry that was used a moment ago.
            if time.time() - path.stat().st_mtime > SPARED_SECONDS:
                log.info("removing %s, unused", path.name)
                shutil.rmtree(path)
