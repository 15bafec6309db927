"""What has to hold of a block whatever its bytes are. Nothing here reads or writes a file.

`make fuzz` asks it about what a fuzzer makes up, and test_found.py about all that was ever found.
"""

from collections.abc import Mapping

from grubenv import EnvBlock, view
from grubenv.damage import TABLE
from grubenv.damage.diagnosis import diagnose
from grubenv.damage.mending import in_place, mended, size_for
from grubenv.damage.salvage import salvage
from grubenv.errors import DamagedError, NoRoomError, NotAtomicError
from grubenv.writing.plan import plan
from tests.grubenv.blocks import FALLBACK, STATE
from tests.grubenv.grubmodel import load_env

Change = tuple[dict[str, str], tuple[str, ...]]
CHANGES: tuple[Change, ...] = (
    (STATE, ()),
    ({"odd": "x\\y\nz=#\r\udcff"}, ("boot_cycle",)),
    ({}, ("boot_alternative", "boot_cycle", "a", "b")),
    ({f"n{number}": "v" * number for number in range(30)}, ("a",)),
)


def judge(data: bytes, changes: tuple[Change, ...] = CHANGES) -> None:
    """Fail if anything but the library's own errors is raised, or what it says or makes of the bytes is wrong."""
    judge_reading(data)
    for fallback in ({}, FALLBACK):
        judge_repair(data, fallback)
    for changed, removed in changes:
        judge_update(data, changed, removed)


def judge_reading(data: bytes) -> None:
    """Both readers agree with GRUB, and what the strict one takes it gives back."""
    theirs = load_env(data)
    try:
        ours = view.variables(data)
    except DamagedError:
        assert theirs is None
    else:
        assert {view.raw(name): view.raw(value) for name, value in ours.items()} == theirs
    for damage in diagnose(data):
        assert damage.word in TABLE
        assert damage.offset is None or 0 <= damage.offset <= len(data)
    try:
        parsed = EnvBlock.parse(data)
    except DamagedError as error:
        assert error.damages
        return
    assert parsed.build() == data
    assert parsed == EnvBlock.parse(parsed.build())
    assert dict(parsed) == ours


def judge_repair(data: bytes, fallback: Mapping[str, str]) -> None:
    """What is mended is sound, is mended once and for all, and leaves GRUB what it read before."""
    names = fallback or None
    saved = salvage(data)
    try:
        block, taken = mended(saved, size_for(data), fallback)
    except NoRoomError:
        assert saved.lost or not data.startswith(view.SIGNATURE)
        return
    image = block.build()
    assert EnvBlock.parse(image) == block
    assert reads(image) == dict(block)
    assert {damage.word for damage in diagnose(image, names)} <= {"beyond-first-sector"}
    assert mended(salvage(image), size_for(image), fallback)[0].build() == image
    if {damage.word for damage in diagnose(data, names)} <= {"beyond-first-sector"}:
        assert image == data
    judge_what_stays(data, block, taken, fallback)
    steps = in_place(data, block, fallback) if len(image) == len(data) else None
    for step in steps or ():
        assert load_env(step.image) in (load_env(data), load_env(image))
    judge_front(block, fallback)


def judge_what_stays(data: bytes, block: EnvBlock, taken: tuple[str, ...], fallback: Mapping[str, str]) -> None:
    """Every variable of GRUB's is there with its value, but for names that no line can hold and CRs at the end."""
    before = reads(data)
    kept = {name: value.rstrip("\r") for name, value in before.items() if name and "\n" not in name}
    assert kept.items() <= dict(block).items()
    if before.keys() & fallback.keys():
        assert not taken
    for name in block.keys() - fallback.keys():
        assert view.raw(name) in data


def judge_front(block: EnvBlock, names: Mapping[str, str]) -> None:
    """Moving names to the front changes nothing else, and is done once."""
    image = block.build()
    try:
        steps = plan(image, block, names)
    except NotAtomicError:
        return
    for step in steps:
        assert load_env(step.image) == load_env(image)
    last = EnvBlock.parse(steps[-1].image if steps else image)
    assert not last.beyond(view.SECTOR_SIZE, names)
    assert plan(last.build(), last, names) == []


def judge_update(data: bytes, changed: Mapping[str, str], removed: tuple[str, ...]) -> None:
    """An update changes what it should, and every line of others stays, byte for byte."""
    try:
        old = EnvBlock.parse(data)
        new = old.update(changed, removed)
        steps = plan(data, new, changed)
    except (DamagedError, NoRoomError, NotAtomicError):
        return
    image = steps[-1].image if steps else data
    wanted = {name: value for name, value in {**reads(data), **changed}.items() if name not in removed}
    assert reads(image) == dict(new) == wanted
    for step in steps:
        assert load_env(step.image) in (load_env(data), load_env(image))
    touched = changed.keys() | set(removed)
    assert foreign(EnvBlock.parse(image), touched) == foreign(old, touched) == foreign(new, touched)


def foreign(block: EnvBlock, touched: set[str]) -> list[bytes]:
    """Return the lines that an update has to keep; they may move, and fillers may go."""
    return sorted(line.raw for line in block.lines if line.name not in touched and not line.is_filler)


def reads(data: bytes) -> dict[str, str]:
    """Return what GRUB reads, as text; nothing where it refuses the block."""
    return {view.text(name): view.text(value) for name, value in (load_env(data) or {}).items()}
