"""gzip is read by isal where it is there, and else by zlib: both take the same, and refuse the same.

The other tests have what `make test` installs, which is isal; here zlib gets what they get.
"""

from pathlib import Path

import pytest

from image.test_bad_input import CASES, check_bad_input, check_damage, check_prefixes
from manageboot.image import streams


def test_isal_is_used_where_it_is_there():
    from isal import igzip_lib

    assert isinstance(streams.CODECS["gz"].make()[0], igzip_lib.IgzipDecompressor)


@pytest.mark.parametrize("name", [name for name in CASES if "gzip" in name])
def test_bad_input(name: str, tmp_path: Path, zlib_only: None):
    check_bad_input(name, tmp_path)


def test_every_prefix_is_truncated(tmp_path: Path, zlib_only: None):
    check_prefixes("gzip", tmp_path)


def test_damage_is_an_error_or_harmless(tmp_path: Path, zlib_only: None):
    check_damage("gzip", tmp_path)
