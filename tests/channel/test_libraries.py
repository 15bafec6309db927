"""python-tuf is found where only manageboot looks for it."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from manageboot.channel import libraries


def test_a_directory_of_its_own_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    before = list(sys.path)
    monkeypatch.setattr(sys, "path", list(before))
    directory = tmp_path / "channel"
    monkeypatch.setattr(libraries, "DIRECTORY", str(directory))
    libraries.reach()
    assert sys.path == before
    directory.mkdir()
    (directory / "only_for_manageboot.py").touch()
    libraries.reach()
    libraries.reach()
    assert sys.path == [str(directory), *before]
    assert find_spec("only_for_manageboot") is not None
