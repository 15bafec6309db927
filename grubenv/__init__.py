r"""The GRUB environment block: the 1,024 bytes that decide what a node boots. Exact, durable, repairable.

Ask what GRUB sees (fast, no lock, no root), or change it so that a power cut leaves the old state or the new one:

>>> import grubenv, tempfile, os
>>> path = os.path.join(tempfile.mkdtemp(), "grubenv")
>>> outcome = grubenv.create(path)
>>> outcome = grubenv.update(path, {"boot_alternative": "B", "boot_cycle": "first_boot"})
>>> grubenv.query(path)
{'boot_alternative': 'B', 'boot_cycle': 'first_boot'}
>>> grubenv.update(path, {"boot_cycle": "first_boot"}).changed
False
>>> print(grubenv.read(path).build()[:62].decode(), end="")
# GRUB Environment Block
boot_alternative=B
boot_cycle=first_b

Every error is a `GrubEnvError`; see `grubenv.errors`.
"""

from __future__ import annotations

from grubenv.errors import (
    AbsentError,
    BadNameError,
    BadValueError,
    CannotCreateError,
    ContradictionError,
    Damage,
    DamagedError,
    FlushError,
    GrubEnvError,
    LockedError,
    NoRoomError,
    NotAtomicError,
    NotPermittedError,
    NotRegularError,
    ReadingsDifferError,
    StorageError,
)
from grubenv.file import DEFAULT_PATH, query, read, read_bytes
from grubenv.place import Inside
from grubenv.view import DEFAULT_SIZE, SECTOR_SIZE, SIGNATURE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from grubenv.block import EnvBlock
    from grubenv.checking import Report, check
    from grubenv.repairing import Repair, repair
    from grubenv.updating import Outcome, create, rehearse, update

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_PATH",
    "DEFAULT_SIZE",
    "SECTOR_SIZE",
    "SIGNATURE",
    "AbsentError",
    "BadNameError",
    "BadValueError",
    "CannotCreateError",
    "ContradictionError",
    "Damage",
    "DamagedError",
    "EnvBlock",
    "FlushError",
    "GrubEnvError",
    "Inside",
    "LockedError",
    "NoRoomError",
    "NotAtomicError",
    "NotPermittedError",
    "NotRegularError",
    "Outcome",
    "ReadingsDifferError",
    "Repair",
    "Report",
    "StorageError",
    "check",
    "create",
    "query",
    "read",
    "read_bytes",
    "rehearse",
    "repair",
    "update",
]

_LATE = {
    "EnvBlock": "grubenv.block",
    "Outcome": "grubenv.updating",
    "create": "grubenv.updating",
    "rehearse": "grubenv.updating",
    "update": "grubenv.updating",
    "Report": "grubenv.checking",
    "check": "grubenv.checking",
    "Repair": "grubenv.repairing",
    "repair": "grubenv.repairing",
}


def __getattr__(name: str) -> object:
    """Import what needs construct only when it is asked for: a query takes 40 ms less without it."""
    if name not in _LATE:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    return getattr(import_module(_LATE[name]), name)
