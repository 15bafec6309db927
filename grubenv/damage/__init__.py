"""What is wrong with the bytes of a block, what is left of them, and the block that a repair makes. No I/O.

`TABLE` has each word that `check` uses, what GRUB makes of it, and what `repair` does about it.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One row of the table, in words for people."""

    grub: str
    repair: str


_LINES = "keeps the readable lines, sets the fallback for what is lost"

TABLE: dict[str, Kind] = {
    "empty": Kind("load_env and save_env fail", "makes a new block from the fallback"),
    "nul-filled": Kind("load_env and save_env fail", "writes the fallback in place, the signature last"),
    "short": Kind("below 26 bytes it fails; else it reads, and has little room to save", "makes a block of 1024 bytes"),
    "long": Kind("load_env reads the front; save_env fails, unless the end is padding", "turns the end into padding"),
    "no-signature": Kind("load_env and save_env fail", _LINES),
    "cr-lf": Kind("refuses the block, or takes the CR as part of the value", "takes the CRs away"),
    "no-newline": Kind("skips the unfinished line; save_env fails", "ends the line if padding follows, else drops it"),
    "stray-bytes": Kind("load_env reads what is in front, save_env fails", "turns them into padding"),
    "malformed-line": Kind("takes it as the beginning of the next line's name", "drops the line"),
    "bad-name": Kind("loads a variable that no script can name", "drops the line"),
    "nul-in-value": Kind("cuts the value at the NUL", "cuts it there too"),
    "duplicate-name": Kind(
        "load_env takes the last line, save_env changes the first", "keeps the last value in the first place"
    ),
    "beyond-first-sector": Kind(
        "reads it; its save_env can tear it at a power cut",
        "moves the fallback's names into the first sector where that is safe",
    ),
    "sparse": Kind("save_env refuses: sparse file not allowed", "makes a new file"),
    "delayed-allocation": Kind("reads the old file, or none", "flushes the file"),
    "unusual-extent": Kind("save_env refuses it, or damages another file", "makes a new file"),
    "not-in-place": Kind("reads the old state, as it replays no journal", "has the journal written back"),
    "unreadable-file-system": Kind(
        "finds no file system: load_env and save_env fail",
        "nothing: make it anew without that, or move the block to vfat",
    ),
    "file-system": Kind("save_env fails: GRUB cannot write to it", "nothing: move the block to vfat or ext4"),
    "device": Kind("save_env fails: GRUB cannot write to LVM or RAID", "nothing: move the block to a plain partition"),
}
"""Every word in the order of the documentation; a test compares both."""
