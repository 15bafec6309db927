"""The layers of the tests, told by markers: whoever starts a program has to bear the marker of what that one needs.

A test without any of these markers is `pure`: Python is enough for it.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

PROGRAMS = {
    # A node on loop devices has a block, too, so the editor of blocks is in both.
    "devices": {"losetup", "mount", "umount", "unshare", "setpriv", "lvm", "cryptsetup", "grub-editenv"},
    "grub": {"grub-editenv", "grub-emu", "grub-fstest", "grub-script-check", "grub-mkimage"},
    "qemu": {"qemu-system-x86_64"},
}
"""What a test may start by its marker, all else aside; with `qemu` all of it."""
_WATCHED = set().union(*PROGRAMS.values())


class Watch:
    """Holds the test that runs to its markers, for as long as this process lives."""

    def __init__(self) -> None:
        self._markers: set[str] | None = None
        sys.addaudithook(self._look)

    def enter(self, markers: Iterable[str]) -> None:
        """Begin a test that bears some markers."""
        self._markers = {*markers}

    def leave(self) -> None:
        """End a test: what is taken down after it may be what others shared."""
        self._markers = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do something that is no part of the test: fetch the programs themselves."""
        markers, self._markers = self._markers, None
        try:
            yield
        finally:
            self._markers = markers

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "subprocess.Popen" or self._markers is None:
            return
        program = os.path.basename(os.fsdecode(arguments[1][0]))
        if program not in _WATCHED or "qemu" in self._markers:
            return
        markers = [marker for marker, programs in PROGRAMS.items() if program in programs]
        if self._markers.isdisjoint(markers):
            raise AssertionError(f"a test that starts {program} has to bear the marker {' or '.join(markers)}")
