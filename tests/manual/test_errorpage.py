"""docs/errors.md has every error, and says what the program itself says."""

import re
from pathlib import Path

from manageboot import errors
from manageboot.manual import errorpage

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_the_page_is_what_the_texts_say():
    assert PAGE.read_text() == errorpage.page(), "make errors"


def test_each_error_has_its_row():
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| (\w.+\.) \| (\S.+\.) \|$", PAGE.read_text(), re.MULTILINE)
    kinds: list[type[errors.ManagebootError]] = [errors.ManagebootError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    raised = [(kind.code, kind.exit_code) for kind in kinds if "code" in vars(kind)]
    assert sorted((code, int(status)) for code, status, _, _ in rows) == sorted(raised)
