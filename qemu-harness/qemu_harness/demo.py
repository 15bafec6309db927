"""The demonstration: a node takes one upgrade and falls back from another, before your eyes.

Run as `python -m qemu_harness.demo`.
"""

import logging
import signal
import sys
import time
from types import FrameType

from qemu_harness.cache import Cache
from qemu_harness.cycle import Result, Step, run_cycle
from qemu_harness.debian import chosen_release
from qemu_harness.machine import VirtualMachine
from qemu_harness.node import build_node
from qemu_harness.process import HarnessError

HEADINGS = ("step", "slot", "version", "boot_cycle", "alternative", "state", "record of A", "record of B", "seconds")


def main() -> int:
    """Build the node, take it through the cycle, and tell about it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    signal.signal(signal.SIGTERM, _terminated)
    started = time.monotonic()
    try:
        _demonstrate(started)
    except HarnessError as error:
        print(f"demo: FAILED after {time.monotonic() - started:.0f} s: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; nothing is left running", file=sys.stderr)
        return 130
    return 0


def _demonstrate(started: float) -> None:
    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    def announce(step: Step) -> None:
        say(f"{step.name}: {step.what}")

    cache = Cache.default()
    release = chosen_release()
    say(f"building a node of {release.title} and two updates (the first time takes a minute; they are kept)")
    images = build_node(cache, release=release)
    results: list[Result] = []
    with VirtualMachine(cache, images.disk, media=images.media) as machine:
        say(f"starting QEMU with {machine.accelerator.name}; serial log: {machine.serial.path}")
        try:
            for result in run_cycle(machine, announce):
                results.append(result)
                seen = result.seen
                say(
                    f"    slot {seen.slot}, version {seen.version}, boot_cycle {seen.variables['boot_cycle']}, "
                    f"{seen.status['state']} ({result.seconds:.1f} s)"
                )
                if result.remark:
                    say(f"    {result.remark}")
        except HarnessError as error:
            log = f"serial log: {machine.serial.path}"
            # What the machine itself reports ends with the log already.
            text = str(error) if log in str(error) else f"{error}\n{log}, its last lines:\n{machine.serial.tail()}"
            raise HarnessError(text) from error
    say(f"done: {len(results)} steps, {results[-1].step.expectation.boots} boots through firmware and GRUB")
    print(f"\n{_table(results)}")


def _table(results: list[Result]) -> str:
    rows = [HEADINGS, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _row(result: Result) -> tuple[str, ...]:
    seen = result.seen
    block = seen.variables
    return (
        *(result.step.name, seen.slot, seen.version, block["boot_cycle"], block["boot_alternative"]),
        *(seen.status["state"], seen.record("A"), seen.record("B"), f"{result.seconds:.1f}"),
    )


def _terminated(number: int, _frame: FrameType | None) -> None:
    """Leave through all context managers, which end QEMU and remove its disk."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
