"""What the tests of grubenv share."""

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:  # or else this directory, a namespace, hides the library of the same name
    sys.path.insert(0, ROOT)


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment block with a warning, two of our names, and a foreign one."""
    from tests.grubenv.blocks import SAMPLE

    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE)
    return path
