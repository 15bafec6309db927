"""What docs/releases.md and docs/channel.md show is what is said: each command is typed, and its words are compared.

Ids of keys, digests, times and numbers are those of two real releases, which are too large for a test, so only that
they are there is compared.
"""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from documents import pages
from documents.pages import DOCS, Step
from manageboot import config
from manageboot.boot import floor
from manageboot.boot.floor import Installed
from manageboot.cli import main
from manageboot.protocol import Slot
from manageboot.publish import keys
from support.deltanode import DeltaNode
from support.images import MIB, make_boot_image, make_update
from support.node import LoopNode
from support.releases import small_release
from support.tufrepository import Repository

PEOPLE = ("anna", "bert", "carl")
OTHERS = {
    "hsm:": "a token, which tests/publish/test_keys.py has",
    "export ": "its library",
}
"""What is not typed here, and why."""


def steps(page: str) -> list[Step]:
    """What is typed on a page, in its order."""
    found = [step for fence in pages.fences(DOCS / page) if fence.language == "console" for step in pages.steps(fence)]
    return [step for step in found if not any(word in step.typed for word in OTHERS)]


def words(text: str) -> str:
    """Leave out what is another one for everybody."""
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "KEY", text.strip("\n"))
    text = re.sub(r"KEY(, KEY)*", "KEYS", text)
    text = re.sub(r"\d{4}-\d\d-\d\d(T[\d:]+(\+00:00|Z))?", "TIME", text)
    return re.sub(r"\d+(\.\d+)*", "N", text)


def same(shown: str, said: str) -> bool:
    """Compare; a line of dots, as a person writes it, stands for more lines."""
    pattern = re.escape(words(shown).replace("\n…", "<lines>").replace("…", "<more>"))
    pattern = pattern.replace("<lines>", "(\n.*)*").replace("<more>", ".*")
    return re.fullmatch(pattern, words(said)) is not None


def test_the_story_of_a_publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "www").mkdir()

    def typed(line: str) -> str:
        assert main.run(shlex.split(line)[1:]) == 0, capfd.readouterr().err
        return "".join(capfd.readouterr())

    for step in steps("releases.md"):
        prepare(step, typed)
        line = step.typed
        if old := re.search(r"(?<=--remove targets=)[0-9a-f]{12}", line):
            line = line.replace(old[0], keys.read_public("targets.pub").keyid[:12])
        said = typed(line)
        assert same(step.shown, said), f"{line}\n{said}\n{words(step.shown)}\n{words(said)}"


def prepare(step: Step, typed: Callable[[str], str]) -> None:
    """Do what the page only tells of, and go back to one person where it goes on with one."""
    here = Path()
    if " build " in step.typed:
        make_update(here, version="1.4.3" if "--from" in step.typed else "1.4.2")
    elif "targets=anna.pub" in step.typed:
        shutil.copytree(here / "www", here / "before")
        typed(f"manageboot release keys {' '.join(PEOPLE)}")
    elif step.typed.endswith("www --key snapshot --key timestamp"):
        typed("manageboot release sign www --draft --key anna")
    elif "--rollout" in step.typed:
        shutil.rmtree(here / "www")
        (here / "before").rename(here / "www")
    elif "new.pub" in step.typed:
        typed("manageboot release keys new")


@pytest.mark.devices
def test_a_node_and_its_channel(tmp_path: Path):
    check, install, *_, inspect = steps("channel.md")
    blocks = [fence.text for fence in pages.fences(DOCS / "channel.md")]
    [unsigned] = [text for text in blocks if text.startswith("signed   by nobody")]
    boot = make_boot_image(tmp_path, "1.4.3", 3 * MIB)
    root = make_boot_image(tmp_path / "root", "1.4.3", MIB)
    images = {"boot": boot.read_bytes(), "root": root.read_bytes()}
    with LoopNode(tmp_path) as node:
        repository = Repository(tmp_path / "www")
        repository.add(small_release(images, version="1.4.3", release_index=8, min_index=7), "1.4.3")
        repository.add(small_release(images, version="1.4.2", release_index=7), "1.4.2")
        repository.publish()
        release = repository.directory / "1.4.3"
        settings = config.load(str(node.config))
        floor.note(settings, Slot.A, Installed("1.4.1", 6, 0, "0" * 64, (), "ab"))
        floor.confirmed(settings, Slot.A, None)
        # Nobody is trusted yet.
        said = node.ok("inspect", release)
        assert same(unsigned, "\n".join(said.splitlines()[-2:])), said
        node.write_config(channel=f'mirrors = ["{repository.directory}"]\nroot = "{repository.root_path}"')
        for step, typed in ((check, ("check",)), (inspect, ("inspect", release)), (install, ("upgrade-install",))):
            done = node.run(*typed)
            assert same(step.shown, done.stdout + done.stderr), f"{step.typed}\n{done.stdout}{done.stderr}"


@pytest.mark.devices
def test_a_node_that_takes_a_delta(tmp_path: Path):
    _, _, check, install, _ = steps("channel.md")
    with LoopNode(tmp_path) as node:
        seeded = DeltaNode(node)
        repository = Repository(tmp_path / "signed")
        repository.add(seeded.new, "1.1")
        repository.add(seeded.old, "1.0")
        repository.publish()
        node.write_config(channel=f'mirrors = ["{repository.directory}"]\nroot = "{repository.root_path}"')
        for step, typed in ((check, ("check",)), (install, ("upgrade-install", "--progress", "bar"))):
            done = node.run(*typed)
            assert same(step.shown, done.stdout + done.stderr), f"{step.typed}\n{done.stdout}{done.stderr}"
