"""Fixtures of the harness' tests. What needs a built node skips where none can be built."""

from pathlib import Path

import pytest

from qemu_harness.cache import Cache
from qemu_harness.debian import chosen_release
from qemu_harness.node import NodeImages, build_node
from qemu_harness.requirements import unmet


@pytest.fixture(scope="session")
def cache() -> Cache:
    """The cache that the demonstration uses too, so that nothing is built twice."""
    missing = unmet()
    if missing:
        pytest.skip("; ".join(missing))
    return Cache.default()


@pytest.fixture(scope="session")
def node_images(cache: Cache) -> NodeImages:
    """A node that has never booted, of the release that DISTRIBUTION names, with manageboot as it is now."""
    return build_node(cache, release=chosen_release())


@pytest.fixture
def empty_cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")
