"""docs/threat-model.md: each test that it names is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
FOLDERS = (TESTS, TESTS.with_name("publish"), TESTS.with_name("unattended"))
PAGE = TESTS.parents[1] / "docs" / "threat-model.md"


def test_the_tests_that_it_names_are_there():
    section = PAGE.read_text().split("## Signed releases\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    there = set(
        re.findall(
            r"^def (test_\w+)",
            "".join(path.read_text() for folder in FOLDERS for path in folder.glob("*.py")),
            re.MULTILINE,
        )
    )
    assert len(named) > 10
    assert named <= there
