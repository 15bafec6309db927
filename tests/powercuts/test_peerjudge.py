"""The rules for other procedures, on small disks: each finds what breaks it, and GRUB itself says what boots."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from powercuts.judge import Told, Verdict
from powercuts.peerjudge import NO_WAY_BACK, NOT_TRUSTED, NOT_WHOLE, NOTHING_BOOTS, PeerJudge, kind_of
from powercuts.replay import BLOCK, Region, Replay
from support.blocks import environment_block
from support.grubemu import SECTOR, STOCK, Grub, Question

pytestmark = pytest.mark.grub

PART = 4096 * SECTOR
# Where such a disk has its parts, and behind them room for two roots.
PLACES = {"grub": 2048, "A_boot": 6144, "B_boot": 10240}
REGIONS = [
    *(Region(name, sector * SECTOR, PART) for name, sector in PLACES.items()),
    *(Region(f"{slot}_root", (14336 + 8 * number) * SECTOR, BLOCK) for number, slot in enumerate("AB")),
]
STABLE = environment_block(boot_alternative="A", boot_cycle="stable")
ARMED = environment_block(boot_alternative="B", boot_cycle="first_boot")

RUNS = Told("A", "A", "", -1, trusted="A")
COMMITTED = Told("AB", "A", "", -1, trusted="A")
CONFIRMED = Told("B", "B", "", -1, trusted="B")


@contextmanager
def replay(directory: Path, question: Question) -> Iterator[Replay]:
    """A disk on which both slots hold their image whole."""
    base = Grub(directory / "made", STOCK).disk(question)
    content = base.read_bytes()
    images = {}
    for region in REGIONS[1:]:
        image = directory / f"{region.name}.img"
        image.write_bytes(content[region.offset : region.offset + region.size])
        images[region.name] = {"v1": image}
    with Replay(base, directory / "disk.img", REGIONS, images) as disk:
        yield disk


def judged(directory: Path, question: Question, told: Told, *, damage: str = "") -> Verdict:
    with replay(directory, question) as disk:
        if damage:
            disk.write(disk.regions[damage].offset, b"x" * SECTOR)
        before = disk.fingerprint()
        verdict = PeerJudge(disk, directory / "judge").judge(told)
        assert disk.fingerprint() == before
        return verdict


@pytest.mark.parametrize(
    ("question", "told", "slot", "is_trial"),
    [
        (Question(STABLE, None, "AB"), RUNS, "A", False),
        (Question(ARMED, None, "AB"), COMMITTED, "B", True),
        (Question(STABLE, None, "AB"), COMMITTED, "A", False),
    ],
    ids=["stable", "trial", "forgotten commit"],
)
def test_what_was_promised_is_kept(tmp_path: Path, question: Question, told: Told, slot: str, is_trial: bool):
    assert judged(tmp_path, question, told) == Verdict(slot, is_trial, ())


@pytest.mark.parametrize(
    ("question", "told", "damage", "kinds"),
    [
        (Question(STABLE, None, ""), RUNS, "", [NOTHING_BOOTS]),
        (Question(STABLE, None, "AB"), RUNS, "A_root", [NOT_WHOLE]),
        (Question(ARMED, None, "AB"), COMMITTED, "B_root", [NOT_WHOLE]),
        (Question(ARMED, None, "AB"), COMMITTED, "A_root", [NOT_WHOLE]),
        (Question(STABLE, None, "AB"), CONFIRMED, "", [NOT_TRUSTED]),
        (Question(b"", None, "AB"), CONFIRMED, "A_root", [NOT_WHOLE, NOT_TRUSTED]),
        (Question(ARMED, None, "AB", writable=False), COMMITTED, "", [NO_WAY_BACK]),
        (Question(ARMED, None, "B"), COMMITTED, "", [NOTHING_BOOTS]),
    ],
    ids=[
        "nothing to load",
        "the trusted slot is damaged",
        "the new slot is damaged",
        "the way back is damaged",
        "the confirmed slot was forgotten",
        "the block was lost in an installation",
        "GRUB can't write",
        "nothing to load on the way back",
    ],
)
def test_what_was_promised_and_is_broken(tmp_path: Path, question: Question, told: Told, damage: str, kinds: list[str]):
    assert [kind_of(wrong) for wrong in judged(tmp_path, question, told, damage=damage).wrong] == kinds
