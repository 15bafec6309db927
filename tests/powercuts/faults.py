"""Deliberate faults in the agent, each a step of durability left out.

The name of one is that of the step of a life, too, in which it works.
"""

from pathlib import Path

from support.mutant import Mutant

ROOT = Path(__file__).parents[2]


# What the textbook does in place of an overwritten sector: write a new file, flush it, rename it, flush the directory.
_RENAME = """\
with open(f"{path}.new", "wb") as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
os.rename(f"{path}.new", path)
directory = os.open(os.path.dirname(path), os.O_RDONLY)
os.fsync(directory)
os.close(directory)
"""


def _by_rename(*before: str, indent: int) -> str:
    """Give that as lines of a function, after those that say what `path` and `content` are."""
    lines = [*before, *_RENAME.splitlines()]
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


NO_DATA_FLUSH = Mutant(
    "no flush after the data", "manageboot/disk/blockdev.py",
    "            os.fsync(self._descriptor)\n", "            pass\n",
)  # fmt: skip
RECORD_FIRST = Mutant(
    "the record before the data", "manageboot/install/install.py",
    "Content.INSTALLING, transaction", "Content.INSTALLED, transaction",
)  # fmt: skip
HEADER_FIRST = Mutant(
    "the header first", "manageboot/install/imagewriter.py",
    "            memoryview(self.header)[:] = window.buffer[:start]\n",
    "            memoryview(self.header)[:] = window.buffer[:start]\n            start = 0\n",
)  # fmt: skip
BLOCK_BY_RENAME = Mutant(
    "the block by rename", "grubenv/updating.py",
    "    how = carry_out(storage, steps, old)\n",
    _by_rename("path, content, how = storage.path, new.build(), 'replaced'", indent=4),
)  # fmt: skip
HISTORY_BY_RENAME = Mutant(
    "the history by rename", "manageboot/events/history.py",
    "        _overwrite(path, encode(added), _offset(added))\n",
    _by_rename("content = bytearray(content)",
               "content[_offset(added) : _offset(added) + RECORD_BYTES] = encode(added)", indent=8),
)  # fmt: skip
NO_BLOCK_FLUSH = Mutant(
    "no flush after the block", "grubenv/writing/storage.py",
    "            os.fdatasync(self.descriptor)\n", "            pass\n",
)  # fmt: skip
TRUSTED_FIRST = Mutant(
    "the trusted slot before the block", "manageboot/upgrade/verbs.py",
    "        _write(config, to_do, _kept(node))\n"
    "        if node.grub is not None:\n            _trust(config, node.booted)\n",
    "        if node.grub is not None:\n            _trust(config, node.booted)\n"
    "        _write(config, to_do, _kept(node))\n",
)  # fmt: skip
GRUB_NOT_FORCED = Mutant(
    "what GRUB wrote is not forced down", "manageboot/daemon/jobs.py",
    'logger.info("%s%s", verbs.arrive(config), _what_grub_said(before))',
    'logger.info("%s", _what_grub_said(before))',
)  # fmt: skip
FLOOR_FIRST = Mutant(
    "the floor before the block", "manageboot/upgrade/verbs.py",
    "        _write(config, to_do, _kept(node))\n"
    "        if node.grub is not None:\n            _trust(config, node.booted)\n"
    "        raising.raise_floor(config, node)\n",
    "        raising.raise_floor(config, node)\n"
    "        _write(config, to_do, _kept(node))\n"
    "        if node.grub is not None:\n            _trust(config, node.booted)\n",
)  # fmt: skip
NO_FLOOR_FLUSH = Mutant(
    "no flush after the floor", "manageboot/system/files.py",
    "            os.fsync(file.fileno())  # vfat keeps size and place in the entry, and fills the new one only now\n"
    "            flush_directory(os.path.dirname(path))\n",
    "            pass\n",
)  # fmt: skip
OF_UPDATES = (
    NO_DATA_FLUSH, HEADER_FIRST, RECORD_FIRST, BLOCK_BY_RENAME, HISTORY_BY_RENAME, NO_BLOCK_FLUSH, TRUSTED_FIRST,
    GRUB_NOT_FORCED,
)  # fmt: skip
OF_RELEASES = (FLOOR_FIRST, NO_FLOOR_FLUSH)
MUTANTS = (*OF_UPDATES, *OF_RELEASES)


def text_of(mutant: Mutant, *, is_faulty: bool) -> str:
    """Give the text of a file, with a fault or without.

    Raises:
        HarnessError: the place of the fault is not there, or more than once.
    """
    text = (ROOT / mutant.file).read_text()
    changed = mutant.changed(text)
    return changed if is_faulty else text
