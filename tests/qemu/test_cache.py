"""What goes into the key of the cache, and what a build leaves behind."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qemu_harness.cache import KEPT_PER_KIND, SPARED_SECONDS, Cache, content_key

CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda tree: (tree / "file").write_text("other"),
    "name": lambda tree: (tree / "file").rename(tree / "renamed"),
    "new file": lambda tree: (tree / "directory" / "new").touch(),
    "executable": lambda tree: (tree / "file").chmod(0o755),
    "link": lambda tree: ((tree / "link").unlink(), (tree / "link").symlink_to("elsewhere")),
    "content moved to another file": lambda tree: (
        (tree / "file").write_text(""),
        (tree / "zero").write_text("content"),
    ),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "directory").mkdir(parents=True)
    (tree / "file").write_text("content")
    (tree / "zero").write_text("")
    (tree / "link").symlink_to("file")
    return tree


@pytest.mark.parametrize("change", CHANGES)
def test_key_changes_with_the_tree(tree: Path, change: str) -> None:
    before = content_key("text", tree)
    CHANGES[change](tree)
    assert content_key("text", tree) != before


def test_key_changes_with_a_string_and_where_it_is_cut(tree: Path) -> None:
    assert len({content_key("ab", "c", tree), content_key("a", "bc", tree), content_key("ab", "d", tree)}) == 3


def test_key_stays_when_only_times_and_byte_code_change(tree: Path) -> None:
    before = content_key(tree)
    os.utime(tree / "file", (1, 1))
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__" / "file.pyc").touch()
    assert content_key(tree) == before


def test_entry_is_built_once(empty_cache: Cache) -> None:
    for text in ("first", "second"):
        directory = empty_cache.entry("kind", "key", lambda path, text=text: (path / "file").write_text(text))
    assert (directory / "file").read_text() == "first"


def test_failed_build_leaves_nothing(empty_cache: Cache) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        empty_cache.entry("kind", "key", fail)
    assert [path.name for path in empty_cache.directory.iterdir()] == ["kind-key.lock"]


def test_entries_unused_for_long_are_removed(empty_cache: Cache) -> None:
    long_ago = time.time() - SPARED_SECONDS - 60
    for number in range(KEPT_PER_KIND + 1):
        directory = empty_cache.entry("kind", f"old{number}", lambda _: None)
        os.utime(directory, (long_ago + number, long_ago + number))
    empty_cache.entry("other", "key", lambda _: None)
    empty_cache.entry("kind", "new", lambda _: None)
    left = {path.name for path in empty_cache.directory.iterdir() if path.is_dir()}
    kept = {f"kind-old{number}" for number in range(2, KEPT_PER_KIND + 1)}
    assert left == {"other-key", "kind-new", *kept}
