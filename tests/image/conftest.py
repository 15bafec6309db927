"""What the tests of update images share."""

import sys

import pytest

from manageboot.image import streams


@pytest.fixture
def zlib_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without isal."""
    monkeypatch.setitem(sys.modules, "isal", None)
    assert isinstance(streams.CODECS["gz"].make()[0], streams.Gunzip)
