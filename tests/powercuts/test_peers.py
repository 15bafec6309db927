"""The comparison itself, from a node that lives in QEMU to what is found of it; one step of it is judged here."""

import pytest

from powercuts.campaign import Walk
from powercuts.peerfigures import RESET, counts
from powercuts.peerjudge import NOT_TRUSTED
from powercuts.peers import PEERS
from powercuts.recorded import recorded
from support import judges

pytestmark = [pytest.mark.long, pytest.mark.qemu, pytest.mark.grub, pytest.mark.devices]


@pytest.mark.parametrize(
    ("name", "step", "found"),
    [
        ("manageboot", "commit A", set()),
        ("shell", "confirm", set()),
        # It was told, and is on no disk.
        ("shell-unflushed", "confirm", {NOT_TRUSTED}),
        # A start counts as a failed one until it is marked good, whoever makes it.
        ("rauc", "reset", {NOT_TRUSTED}),
        ("rauc-trixie", "reset", {NOT_TRUSTED}),
    ],
)
def test_what_a_reset_can_leave_of_one_step(monkeypatch: pytest.MonkeyPatch, name: str, step: str, found: set[str]):
    recording = recorded(name)
    monkeypatch.setenv("PATH", judges.path_of(PEERS[name].release.value))
    with Walk(recording, seed=1, samples=1) as walk:
        result = walk.run(only=[step])
    assert result.states > 0
    assert {kind for kind, cause in counts(result) if cause == RESET} == found
