"""What is kept of releases survives each power cut, and a step of durability that is left out is found."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from channel.crash import KINDS, campaign
from manageboot.system import files

pytestmark = pytest.mark.devices

STRIDE = 80
"""`make test` takes one of so many states, `make crash-releases` all."""
ORDERED, _ = KINDS


def test_a_power_cut_leaves_old_or_new_and_the_agent_goes_on() -> None:
    with campaign(ORDERED) as one:
        result = one.judge(one.record()[::STRIDE])
    assert result.wrong == []
    assert result.contents > 1


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_at_each_write_and_each_flush(kind: str) -> None:
    with campaign(kind) as one:
        result = one.judge(one.record())
    assert result.wrong == []
    # Before and after each step.
    assert result.contents == 9


def no_flush(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "fsync", lambda _: None)


def no_rename(patch: pytest.MonkeyPatch) -> None:
    def replace(path: str, content: bytes, *, durable: bool) -> None:
        assert durable
        with Path(path).open("r+b") as file:
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())

    patch.setattr(files, "replace", replace)


@pytest.mark.long
@pytest.mark.parametrize("fault", [no_flush, no_rename])
def test_a_step_that_is_left_out_is_found(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with campaign(ORDERED) as one:
        with monkeypatch.context() as patch:
            fault(patch)
            states = one.record()
        assert one.judge(states, stop=True).wrong
