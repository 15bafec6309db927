"""The examples in the docstrings hold."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["", ".block", ".checking", ".kernelcmdline", ".repairing", ".view"])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"grubenv{name}"))
    assert result.attempted
    assert result.failed == 0
