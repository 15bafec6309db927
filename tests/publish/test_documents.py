"""docs/releases.md tells of every action and option, and docs/release-format.md of every limit."""

import argparse
from pathlib import Path

import pytest

from manageboot.cli import releaseparser
from manageboot.release import description, layout

DOCS = Path(__file__).parents[2] / "docs"


def actions() -> dict[str, argparse.ArgumentParser]:
    parser = argparse.ArgumentParser()
    releaseparser.add_actions(parser, argparse.HelpFormatter)
    [choices] = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return choices


@pytest.mark.parametrize("action", actions())
def test_every_option_is_told(action: str):
    text = (DOCS / "releases.md").read_text()
    assert f"manageboot release {action} " in text
    options = {name for one in actions()[action]._actions for name in one.option_strings} - {"-h", "--help"}
    assert [name for name in sorted(options) if f"`{name}" not in text and f"{name} " not in text] == []


LIMITS = [
    f"at most {description.DESCRIPTION_BYTES_MAX >> 10} KiB",
    f"and at most {description.INDEX_BYTES_MAX >> 20} MiB",
    f"1 to 2^{description.FILE_BYTES_MAX.bit_length() - 1} | in bytes; of",
    f"1 to 2^{description.IMAGE_BYTES_MAX.bit_length() - 1} | in bytes, holes",
    f"1 to 2^{description.NUMBER_MAX.bit_length()} \N{MINUS SIGN} 1",
    f"1 to {description.IMAGES_MAX} objects",
    f"1 to {description.NAMES_MAX} names",
    f"`{description.VERSION.pattern.removeprefix('(?!metadata$)')}`",
    f"`{description.ROLE.pattern}`",
    f"1 to {layout.FRAME_BYTES_MAX:,}",
    f"1 to {layout.FRAME_BLOCKS_MAX:,}",
    f"a window needs 1 to {layout.WINDOW_FRAMES_MAX} frames",
    f"header, {layout.HEADER.size} bytes",
    f"image, {layout.IMAGE_ROW.size} bytes",
    f"frame, {layout.FRAME_ROW.size} bytes",
    f"window, {layout.WINDOW_ROW.size} bytes",
    f"operation, {layout.OPERATION_ROW.size} bytes",
    f"{layout.ZERO} *zero*, {layout.REPLACE} *replace*; {layout.COPY} *copy* and {layout.PATCH} *patch*",
]


@pytest.mark.parametrize("told", LIMITS)
def test_the_limits_are_those_of_the_document(told: str):
    assert told in (DOCS / "release-format.md").read_text()
