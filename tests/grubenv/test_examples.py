"""The examples in the docstrings hold, and the kernel command line is read as the kernel reads it."""

import doctest
import importlib

import pytest

from grubenv.kernelcmdline import parse_keys


@pytest.mark.parametrize("name", ["", ".block", ".checking", ".kernelcmdline", ".repairing", ".view"])
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"grubenv{name}"))
    assert result.attempted
    assert result.failed == 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", {}),
        ("quiet a=1\n", {"a": "1"}),
        ("a=1 a=2", {"a": "2"}),
        ('a="x y" b=\'c', {"a": "x y", "b": "'c"}),
        ('a="x y', {"a": "x"}),
        ("a=1 -- a=2", {"a": "1"}),
        ("a=b=c #d=e", {"a": "b=c", "#d": "e"}),
        ("a=\\x", {"a": "\\x"}),
    ],
)
def test_kernel_command_lines(line: str, expected: dict[str, str]) -> None:
    assert parse_keys(line) == expected
