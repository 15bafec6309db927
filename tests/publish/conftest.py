"""A repository of signed releases, made once for each file and copied for each test."""

import shutil
from pathlib import Path

import pytest

from support.repository import Repository


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("repository")
    Repository(directory).make()
    return directory


@pytest.fixture
def repository(tmp_path: Path, template: Path) -> Repository:
    shutil.copytree(template, tmp_path / "copy")
    return Repository(tmp_path / "copy")
