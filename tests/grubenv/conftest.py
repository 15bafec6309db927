"""What the tests of grubenv share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:  # or else this directory, a namespace, hides the library of the same name
    sys.path.insert(0, ROOT)

EXAMPLES = int(os.environ.get("GRUBENV_EXAMPLES", "100"))
"""How many examples each property is tried with; `make fuzz` asks for more."""

settings.register_profile("grubenv", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("grubenv")


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """An environment block with a warning, two of our names, and a foreign one."""
    from tests.grubenv.support import SAMPLE

    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE)
    return path
