"""What was ever found stays found: each input is judged again, in memory, in a file, and by GRUB's own tools."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import grubenv
from grubenv.repairing import repair
from tests.grubenv.blocks import FALLBACK
from tests.grubenv.found import FOUND, inputs
from tests.grubenv.grubmodel import load_env
from tests.grubenv.oracle import CHANGES, judge, reads
from tests.grubenv.support import DAMAGED_OR_NOT, editenv, fstest_cat, make_image, need, run_grub, valid_blocks

INPUTS = inputs()
SIZES = (0, 25, 26, 100, 511, 513, 1023, 1025, 1536, 2049)


@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS)
def test_nothing_is_found_any_more(data: bytes) -> None:
    judge(data)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("data", FOUND.values(), ids=FOUND)
def test_nor_at_another_size(data: bytes, size: int) -> None:
    """Cut, or with more padding, or with NUL bytes behind."""
    used = data.rstrip(b"#")
    judge(used[:size].ljust(size, b"#"))
    judge(used[:size].ljust(size, b"\0"))


@pytest.mark.parametrize("body", [b"a=1\n", b"\n", b"\\"], ids=repr)
def test_nor_in_a_large_file(body: bytes) -> None:
    judge(grubenv.SIGNATURE + (body * 70_000)[:8_000] + b"b=\\" + b"#" * 62_000, CHANGES[:1])


@given(st.one_of(DAMAGED_OR_NOT, valid_blocks()), st.sampled_from([b"", b"#", b"\0"]), st.sampled_from([0, 512, 1024]))
def test_arbitrary_bytes(data: bytes, filling: bytes, size: int) -> None:
    judge(data.ljust(size, filling) if filling else data)


@pytest.mark.parametrize("fallback", [{}, FALLBACK], ids=["no fallback", "fallback"])
def test_in_a_file(fallback: dict[str, str]) -> None:
    """Repair twice and update: nothing but the library's own errors, and nothing left to do for the second repair."""
    for name, data in INPUTS.items():
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "grubenv")
            path.write_bytes(data)
            done = repair(path, fallback)
            assert {damage.word for damage in done.remaining} <= {"beyond-first-sector"}, name
            mended = path.read_bytes()
            again = repair(path, fallback)
            assert (again.how, path.read_bytes()) == ("unchanged", mended), name
            assert reads(mended) == dict(grubenv.read(path)) == grubenv.query(path), name
            for changed, removed in CHANGES[:2]:
                try:
                    outcome = grubenv.update(path, changed, removed)
                except (grubenv.NoRoomError, grubenv.NotAtomicError):
                    continue
                assert reads(path.read_bytes()) == outcome.after, name


@pytest.mark.grub
def test_the_model_lists_what_grub_editenv_lists(tmp_path: Path) -> None:
    """Duplicates apart, which it lists twice."""
    need("grub-editenv")
    path = tmp_path / "grubenv"
    for name, data in INPUTS.items():
        path.write_bytes(data)
        done = editenv(path, "list")
        model = load_env(data)
        assert (done.returncode == 0) is (model is not None), name
        for variable, value in (model or {}).items():
            assert b"%b=%b\n" % (variable, value) in done.stdout, name


@pytest.mark.grub
def test_the_model_loads_what_grub_loads(tmp_path: Path) -> None:
    """GRUB loads each block, before and after its repair, and saves the names that decide what boots elsewhere."""
    need("grub-emu", "mke2fs")
    blocks = {}
    for index, data in enumerate(INPUTS.values()):
        path = tmp_path / "grubenv"
        path.write_bytes(data)
        repair(path, FALLBACK)
        blocks |= {f"before{index}": data, f"after{index}": path.read_bytes()}
    files, script = {}, []
    for name, data in blocks.items():
        files |= {name: data, f"of_{name}": grubenv.EnvBlock.create(4096).build()}
        script += [
            *(f"unset {variable}" for variable in FALLBACK),
            f"load_env -f (hd0)/{name} {' '.join(FALLBACK)}",
            f"save_env -f (hd0)/of_{name} {' '.join(FALLBACK)}",
        ]
    image = make_image(tmp_path, files)
    run_grub(tmp_path, script, image)
    for name, data in blocks.items():
        expected = {variable: reads(data)[variable] for variable in FALLBACK if variable in reads(data)}
        assert grubenv.view.variables(fstest_cat(image, f"of_{name}")) == expected, name
