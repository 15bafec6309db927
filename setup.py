"""Let what is built know the commit that it is built from. All else stands in pyproject.toml."""

import os
import re
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

# Of these sources, and of no installed ones.
sys.path.insert(0, str(Path(__file__).parent))
from grubenv.commit import commit


def stamp(tree: Path) -> None:
    """Write the commit into a copy of the sources."""
    file = tree / "grubenv" / "commit.py"
    text = re.sub('^COMMIT = ".*"$', f'COMMIT = "{commit()}"', file.read_text(), flags=re.MULTILINE)
    # The copy may be a second name of the source.
    file.unlink()
    file.write_text(text)


class BuildPy(build_py):
    """Build what goes into a wheel."""

    def run(self) -> None:  # noqa: D102  setuptools says what it does
        super().run()
        if not self.editable_mode:
            stamp(Path(self.build_lib))


class Sdist(sdist):
    """Pack the sources."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:  # noqa: D102  setuptools says what it does
        super().make_release_tree(base_dir, files)
        for name in filter(os.path.islink, files):
            copy = Path(base_dir, name)
            copy.unlink()
            copy.symlink_to(os.readlink(name))
        stamp(Path(base_dir))


setup(cmdclass={"build_py": BuildPy, "sdist": Sdist})
