"""A target for atheris: whatever the bytes, only the typed errors, and what is mended stays mended.

`python -m tests.grubenv.fuzz -max_total_time=60` where atheris is installed.
"""

import sys

import atheris

with atheris.instrument_imports(include=["grubenv"]):
    from grubenv import EnvBlock, GrubEnvError, view
    from grubenv.diagnosis import diagnose
    from grubenv.plan import plan
    from grubenv.salvage import mended, salvage, size_for

ROOM_BYTES = 4096


def one_input(data: bytes) -> None:
    """Try the readings, a change, and a repair on one input; half of the inputs get a signature."""
    for block in (data, view.SIGNATURE + data):
        check_reading(block)
        check_change(block)
        check_repair(block)


def check_reading(data: bytes) -> None:
    try:
        parsed = EnvBlock.parse(data)
    except GrubEnvError:
        return
    assert parsed.build() == data
    assert view.variables(data) == dict(parsed)


def check_change(data: bytes) -> None:
    try:
        old = EnvBlock.parse(data)
        new = old.update({"boot_alternative": "B", "boot_cycle": "first_boot"})
        steps = plan(data, new, ["boot_alternative", "boot_cycle"])
    except GrubEnvError:
        return
    for step in steps:
        assert view.variables(step.image) in (dict(old), dict(new))


def check_repair(data: bytes) -> None:
    fallback = {"boot_alternative": "A", "boot_cycle": "stable"}
    try:
        block, _ = mended(salvage(data), max(size_for(data), ROOM_BYTES), fallback)
    except GrubEnvError:
        return
    assert diagnose(block.build(), ()) == []


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
