"""What a program says of itself: its version, and the commit where it is known."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

import grubenv
import manageboot
from grubenv import __main__ as grubenv_program
from grubenv import commit
from manageboot.cli import main


@pytest.mark.parametrize(("stamped", "said"), [("cbf29fd", "0.1.2 (cbf29fd)"), ("unknown", "0.1.2")])
def test_both_programs_say_version_and_commit(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], stamped: str, said: str
):
    monkeypatch.setattr(grubenv, "__version__", "0.1.2")
    monkeypatch.setattr(commit, "COMMIT", stamped)
    with pytest.raises(SystemExit, match=r"^0$"):
        main.run(["--version"])
    assert grubenv_program.main(["--version"]) == 0
    assert capfdbinary.readouterr().out.decode().splitlines() == [f"manageboot {said}", f"grubenv {said}"]


def test_the_library_and_the_agent_are_of_one_version():
    assert grubenv.__version__ == manageboot.__version__


def copied(checkout: Path) -> ModuleType:
    """The module, as it lies in a checkout."""
    path = checkout / "grubenv" / "commit.py"
    path.parent.mkdir()
    path.write_bytes(Path(commit.__file__).read_bytes())
    spec = importlib.util.spec_from_file_location("copied", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(checkout: Path, *words: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"]
    return subprocess.run(
        ["git", "-C", checkout, *identity, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_checkout_is_asked_for_its_commit_and_whether_it_was_changed(tmp_path: Path):
    of_it = copied(tmp_path)
    assert of_it.commit() == "unknown"
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    assert of_it.commit() == "unknown"
    git(tmp_path, "commit", "-q", "-m", "one")
    git(tmp_path, "tag", "-a", "-m", "not asked for", "v1")
    head = git(tmp_path, "rev-parse", "--short", "HEAD")
    assert of_it.commit() == head
    (tmp_path / "grubenv" / "commit.py").write_text("changed")
    assert of_it.commit() == f"{head}-dirty"
