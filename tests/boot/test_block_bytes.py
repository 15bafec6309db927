"""Whatever the bytes of the environment block, and of that of the trusted slot, are: nothing but errors of our own."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from manageboot import errors
from manageboot.boot import envblock
from manageboot.boot.markers import Markers
from manageboot.protocol import BlockState, Cycle, Slot
from tests.grubenv.found import FOUND, inputs
from tests.grubenv.oracle import reads
from tests.grubenv.support import DAMAGED_OR_NOT, valid_blocks

COMMITTED = BlockState(Slot.B, Cycle.FIRST_BOOT, 0)
COMMIT_MARKERS = Markers(nonce="0123456789abcdef", tries="3")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.one_of(st.sampled_from([*inputs().values()]), DAMAGED_OR_NOT, valid_blocks()),
    st.sampled_from([b"", *inputs().values()]),
)
@example(FOUND["a backslash hides the newline that a repair would add"], b"")
def test_any_bytes(tmp_path: Path, block: bytes, beside: bytes) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes(block)
    (tmp_path / "manageboot.env").write_bytes(beside)
    (tmp_path / "grub.cfg").touch()
    found = envblock.read(str(path))
    assert (found.state is None) is (found.condition is envblock.Condition.DAMAGED)
    for markers in (Markers(), COMMIT_MARKERS):
        for attempt in (
            lambda: envblock.stated(found),
            lambda: envblock.settle(found),
            lambda markers=markers: envblock.rehearse(str(path), COMMITTED, markers),
            lambda markers=markers: envblock.write(str(path), COMMITTED, markers),
            lambda: envblock.write_trusted(str(path), Slot.B),
        ):
            try:
                attempt()
            except errors.ManagebootError as error:
                assert error.code != "INTERNAL"
    with suppress(errors.ManagebootError):
        envblock.write(str(path), COMMITTED, COMMIT_MARKERS)
        written = envblock.read(str(path))
        assert (written.state, written.markers) == (COMMITTED, COMMIT_MARKERS)
        assert reads(path.read_bytes())["boot_alternative"] == "B"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"f=" + b"x" * 990, "NO_ROOM"),
        (b"f=" + b"x" * 470 + b"\nboot_alternative=A\nboot_cycle=stable\ng=" + b"y" * 400, "NOT_ATOMIC"),
        (b"f", "BLOCK_DAMAGED"),
    ],
)
def test_each_error_of_the_library_keeps_its_meaning(tmp_path: Path, body: bytes, code: str) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes((b"# GRUB Environment Block\n" + body + b"\n").ljust(1024, b"#"))
    before = path.read_bytes()
    for attempt in (envblock.rehearse, envblock.write):
        with pytest.raises(errors.ManagebootError) as caught:
            attempt(str(path), COMMITTED, COMMIT_MARKERS)
        assert caught.value.code == code
        assert caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("value", "shown"), [(b"b", "b"), (b"\xff", "\\xff"), (b"B\r", "B\\x0d"), (b"B\\\nx", "B\\x0ax")]
)
def test_a_value_that_is_no_slot_is_shown_as_it_is(tmp_path: Path, value: bytes, shown: str) -> None:
    path = tmp_path / "grubenv"
    path.write_bytes((b"# GRUB Environment Block\nboot_alternative=" + value + b"\n").ljust(1024, b"#"))
    problem = envblock.read(str(path)).problem
    assert str(problem) == f"cannot read {path}: boot_alternative is '{shown}', which is none of A, B"
    assert problem is not None
    assert problem.hint == f"set it with `grubenv {path} set boot_alternative=...`"
