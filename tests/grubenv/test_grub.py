"""Differential tests: GRUB's own tools are the oracle, in both directions."""

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import grubenv
from grubenv import DamagedError, EnvBlock, NoRoomError, NotAtomicError
from grubenv.view import SIGNATURE, iterate, variables
from tests.grubenv.blocks import SAMPLE, WARNING, block
from tests.grubenv.support import (
    DAMAGED_OR_NOT,
    NAMES,
    PLAIN_NAMES,
    VALUES,
    editenv,
    escape,
    fstest_cat,
    make_image,
    need,
    raw,
    run_grub,
    text,
    valid_blocks,
)

pytestmark = [pytest.mark.grub, pytest.mark.usefixtures("each_grub")]

ASKING = settings(
    max_examples=max(150, settings.default.max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BATCH = 120
"""Blocks that one run of grub-emu reads or writes."""


@ASKING
@given(st.one_of(valid_blocks(), DAMAGED_OR_NOT, DAMAGED_OR_NOT.map(lambda data: data + b"\n####")))
def test_list_prints_what_grub_editenv_prints(tmp_path: Path, data: bytes) -> None:
    need("grub-editenv")
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    theirs = editenv(path, "list")
    if theirs.returncode:
        with pytest.raises(DamagedError):
            list(iterate(data))
    else:
        assert theirs.stdout == b"".join(b"%b=%b\n" % pair for pair in iterate(data))


@ASKING
@given(valid_blocks(), st.dictionaries(NAMES.filter(lambda name: not name.startswith("-")), VALUES, max_size=4))
def test_set_writes_the_bytes_that_grub_editenv_writes(tmp_path: Path, data: bytes, values: dict[str, bytes]) -> None:
    need("grub-editenv")
    old = EnvBlock.parse(data)
    assume(not any(line.is_filler for line in old.lines))
    assume(not set(old.duplicates) & set(values))
    assume(all(old.get(name) != text(value) for name, value in values.items()))
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    theirs = editenv(path, "set", *(raw(name) + b"=" + value for name, value in values.items()))
    try:
        new = old.update({name: text(value) for name, value in values.items()})
    except NoRoomError:
        assert theirs.returncode
        return
    if theirs.returncode == 0:  # it can run out of room half-way, where a later value would have made some
        assert path.read_bytes() == new.build()


@ASKING
@given(valid_blocks(), st.lists(NAMES.filter(lambda name: not name.startswith("-")), max_size=3))
def test_unset_writes_the_bytes_that_grub_editenv_writes(tmp_path: Path, data: bytes, names: list[str]) -> None:
    need("grub-editenv")
    old = EnvBlock.parse(data)
    removed = [*names, *list(old)[:2]]
    assume(not set(old.duplicates) & set(removed))
    assume(not any(name.startswith("-") for name in removed))
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    assert editenv(path, "unset", *map(raw, removed)).returncode == 0
    assert path.read_bytes() == old.update(unset=removed).build()


def test_what_grub_editenv_makes_is_read_and_updated(tmp_path: Path) -> None:
    need("grub-editenv")
    path = tmp_path / "grubenv"
    assert editenv(path, "create").returncode == 0
    assert editenv(path, "set", "boot_alternative=A", b"odd=x\\y\nz=#\xff").returncode == 0
    assert grubenv.query(path) == {"boot_alternative": "A", "odd": "x\\y\nz=#\udcff"}
    grubenv.update(path, {"boot_alternative": "B", "boot_cycle": "first_boot"})
    assert path.read_bytes().startswith(SIGNATURE + WARNING + b"boot_alternative=B\n")
    assert editenv(path, "list").stdout == b"boot_alternative=B\nodd=x\\y\nz=#\xff\nboot_cycle=first_boot\n"


@pytest.mark.parametrize(
    ("data", "reads", "sets"),
    [
        pytest.param(block(b"a=1\n"), True, True, id="sound"),
        pytest.param(b"", False, False, id="empty"),
        pytest.param(bytes(1024), False, False, id="NUL-filled"),
        pytest.param(SIGNATURE, False, False, id="25 bytes"),
        pytest.param(SIGNATURE + b"#", True, False, id="26 bytes have no room"),
        pytest.param(block(b"a=1\n") + b"\0", True, False, id="a stray byte"),
        pytest.param(block(b"a=1\nb=2"), True, False, id="no newline before the padding"),
        pytest.param(SAMPLE.replace(b"\n", b"\r\n"), False, False, id="CR LF"),
    ],
)
def test_the_table_of_damages_as_grub_editenv_sees_it(tmp_path: Path, data: bytes, reads: bool, sets: bool) -> None:
    need("grub-editenv")
    path = tmp_path / "grubenv"
    path.write_bytes(data)
    assert (editenv(path, "list").returncode == 0) is reads
    assert (editenv(path, "set", "a=2").returncode == 0) is sets
    path.write_bytes(data)
    try:
        grubenv.query(path)
    except DamagedError:
        assert not reads
    else:
        assert reads
    try:
        grubenv.update(path, {"a": "2"})
    except (DamagedError, NoRoomError):
        assert not sets
    else:
        assert sets


@pytest.mark.parametrize("kind", ["vfat", "ext4"])
def test_grub_reads_our_file_through_its_own_drivers(tmp_path: Path, kind: str) -> None:
    need("grub-fstest", "mke2fs", "mkfs.vfat", "mcopy")
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE)
    grubenv.update(path, {"boot_alternative": "B", "boot_cycle": "first_boot"})
    image = make_image(tmp_path, {"grubenv": path.read_bytes()}, kind)
    assert fstest_cat(image, "grubenv") == path.read_bytes()


def scripted(seed: int) -> list[tuple[EnvBlock, dict[str, str]]]:
    """Return blocks and changes to them, with names that can stand in a GRUB script."""
    source = random.Random(seed)
    names = ["boot_alternative", "boot_cycle", "saved_entry", "n", "v1", "longer_name"]
    alphabet = b"ab= #\\\n'\"$\xff\xc3\xbc\r\t{};|"
    cases = []
    for _ in range(BATCH):

        def value() -> bytes:
            return bytes(source.choices(alphabet, k=source.randrange(24)))

        lines = [WARNING] * source.randrange(2)
        lines += [b"%b=%b\n" % (raw(source.choice(names)), escape(value())) for _ in range(source.randrange(6))]
        lines += [b"# note " + value().replace(b"\n", b"").replace(b"\\", b"") + b"\n"] * source.randrange(2)
        source.shuffle(lines)
        old = EnvBlock.parse(block(b"".join(lines), source.choice([512, 1024, 1024, 2048, 777])))
        cases.append((old, {name: text(value()) for name in source.sample(names, 2)}))
    return cases


@pytest.mark.parametrize("kind", ["vfat", "ext4"])
def test_load_env_reads_our_blocks_as_we_do(tmp_path: Path, kind: str) -> None:
    """Let GRUB load each block and save what it loaded into an empty one, which tells what it read."""
    need("grub-emu", "mke2fs", "mkfs.vfat", "mcopy")
    files, script, expected = {}, [], []
    for index, (old, change) in enumerate(scripted(1)):
        new = old.update(change)
        files[f"in{index}"] = new.build()
        files[f"out{index}"] = block(b"", 2048)
        names = " ".join(new)
        script += [
            f"load_env -f (hd0)/in{index}",
            f"save_env -f (hd0)/out{index} {names}",
            *(f"unset {name}" for name in new),
        ]
        expected.append(dict(new))
    image = make_image(tmp_path, files, kind)
    run_grub(tmp_path, script, image)
    for index, wanted in enumerate(expected):
        found = fstest_cat(image, f"out{index}")
        assert variables(found) == dict(EnvBlock.parse(found)) == wanted


@pytest.mark.parametrize("kind", ["vfat", "ext4"])
def test_save_env_changes_our_blocks_as_we_do(tmp_path: Path, kind: str) -> None:
    """Let GRUB change each block; we must read the result, and would have written the same bytes."""
    need("grub-emu", "mke2fs", "mkfs.vfat", "mcopy")
    cases = [(old, change) for old, change in scripted(2) if not old.duplicates]
    files, script = {}, []
    for index, (old, change) in enumerate(cases):
        files[f"block{index}"] = old.build()
        files[f"change{index}"] = EnvBlock.create().update(change).build()
        script += [
            f"load_env -f (hd0)/change{index}",
            f"save_env -f (hd0)/block{index} {' '.join(change)}",
            *(f"unset {name}" for name in change),
        ]
    image = make_image(tmp_path, files, kind)
    run_grub(tmp_path, script, image)
    for index, (old, change) in enumerate(cases):
        assert fstest_cat(image, f"block{index}") == old.update(change).build()


def test_with_duplicates_load_env_and_save_env_disagree(tmp_path: Path) -> None:
    """Show why an update leaves one line of each name that it sets."""
    need("grub-emu", "mke2fs")
    twice = EnvBlock.parse(block(b"n=1\nn=2\n"))
    image = make_image(tmp_path, {"grubenv": twice.build(), "ours": twice.update({"n": "2"}).build()})
    save = ["set n=9", "save_env -f (hd0)/{0} n", "set n=", "load_env -f (hd0)/{0}", 'echo "[{0}:$n]"']
    printed = run_grub(tmp_path, [line.format(name) for name in ("grubenv", "ours") for line in save], image)
    assert "[grubenv:2]" in printed
    assert "[ours:9]" in printed
    assert fstest_cat(image, "grubenv") == block(b"n=9\nn=2\n")


@ASKING
@given(st.dictionaries(PLAIN_NAMES, VALUES, min_size=1))
def test_the_durable_update_is_read_by_grub_editenv(tmp_path: Path, values: dict[str, bytes]) -> None:
    need("grub-editenv")
    path = tmp_path / "grubenv"
    path.write_bytes(SAMPLE)
    try:
        outcome = grubenv.update(path, {name: text(value) for name, value in values.items()})
    except NotAtomicError:
        assert path.read_bytes() == SAMPLE
        return
    listed = b"".join(b"%b=%b\n" % (raw(name), raw(value)) for name, value in outcome.after.items())
    assert editenv(path, "list").stdout == listed
