"""The devices of the slots while the daemon runs: which one has gone, or has failed.

udev says when something happens to a block device. Where it does not run, looking again now and then has to do.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

from manageboot import errors
from manageboot.config import SlotConfig
from manageboot.disk import devices
from manageboot.protocol import Slot
from manageboot.system.beside import beside

logger = logging.getLogger(__name__)

LOST_AFTER_S = 10.0
"""Partitions go and come back when a partition table is read again, and come late at boot."""

_MOST_EVENTS = 1000
"""How many are taken at once; a disk that comes and goes all the time must not keep the loop here."""


class DeviceWatch:
    """What udev says of block devices, and what became of those that belong to a slot."""

    def __init__(self, slots: dict[Slot, SlotConfig], lost: Mapping[str, str]) -> None:
        """Listen to udev from now on, where it can be heard.

        Args:
            slots: the devices.
            lost: what an earlier watch found to be gone or failed; that is no news, and gets no time to come back.
        """
        self._specs = {f"slots.{slot}.{role}": spec for slot, specs in slots.items() for role, spec in specs.items()}
        self._paths: dict[str, str] = {}
        self._wrong = dict(lost)
        """What was wrong at the last look."""
        self._since = dict.fromkeys(lost, float("-inf"))
        self._monitor = _monitor()

    @property
    def descriptor(self) -> int | None:
        """What becomes readable when a block device comes, goes or changes."""
        return None if self._monitor is None else int(self._monitor.fileno())

    def drain(self) -> None:
        """Take all that udev has to say; it only tells that it is time to look again."""
        self._paths.clear()
        if self.descriptor is None:
            return
        # As bytes: where more came at once than there was room for, the library sees an error, and takes nothing more.
        for _ in range(_MOST_EVENTS):
            try:
                os.read(self.descriptor, 1)
            except BlockingIOError:
                return
            except OSError:
                continue  # some are lost, and that was said now

    def wake_s(self, now_s: float) -> float | None:
        """Say when to look again though udev says nothing: at what may still come back."""
        ends_s = (since_s + LOST_AFTER_S for since_s in self._since.values())
        return min((end_s for end_s in ends_s if end_s > now_s), default=None)

    def look(self, now_s: float) -> dict[str, str]:
        """Return what is wrong, and was so for a while, by the key that the configuration has for the device."""
        # Of what can't be looked at nothing new is known, and the trial has to end all the same.
        causes: dict[str, str | None] = {key: self._wrong.get(key) for key in self._specs}
        for key, spec in self._specs.items():
            with beside("the devices of the slots can't be looked at"):
                causes[key] = self._look_at(key, spec)
        self._wrong = {key: cause for key, cause in causes.items() if cause is not None}
        self._since = {key: self._since.get(key, now_s) for key in self._wrong}
        return {key: cause for key, cause in self._wrong.items() if now_s >= self._since[key] + LOST_AFTER_S}

    def _look_at(self, key: str, spec: str) -> str | None:
        try:
            # udev's database is asked only where a device may have changed its name.
            if key not in self._paths:
                self._paths[key] = devices.find(spec)
            cause = devices.failure(self._paths[key])
        except (errors.DevicesUnknownError, errors.ExhaustedError):
            return self._wrong.get(key)
        except errors.ManagebootError as error:
            return str(error)
        if cause is None:
            return None
        return f"{self._paths.pop(key)}: {cause}"


def _monitor() -> Any:
    # Its library has no types.
    try:
        import pyudev

        monitor = pyudev.Monitor.from_netlink(pyudev.Context())
        monitor.filter_by("block")
        monitor.start()
    except (ImportError, OSError) as error:
        logger.warning("udev can't be heard, the devices are only looked at now and then: %s", error)
        return None
    return monitor
