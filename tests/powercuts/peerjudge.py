"""What any updater promises of a disk at any instant: the rules for procedures other than manageboot's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from powercuts.boots import Boot, GrubJudge
from powercuts.judge import Told, Verdict
from powercuts.recording import Recording
from powercuts.replay import Replay

NOTHING_BOOTS = "nothing boots"
NOT_WHOLE = "a slot boots that holds no image whole"
NOT_TRUSTED = "what was confirmed does not boot"
NO_WAY_BACK = "after an unconfirmed trial the old system does not boot"
KINDS = (NOTHING_BOOTS, NOT_WHOLE, NOT_TRUSTED, NO_WAY_BACK)
"""The ways to break a promise; what is wrong begins with one of them."""


def kind_of(wrong: str) -> str:
    """Say which of them it is."""
    return next(kind for kind in KINDS if wrong.startswith(kind))


@contextmanager
def promises(_recording: Recording, replay: Replay, directory: Path) -> Iterator["PeerJudge"]:
    """Give the judge of a procedure that is not manageboot's."""
    yield PeerJudge(replay, directory)


class PeerJudge:
    """GRUB, and the images that may lie in the slots."""

    def __init__(self, replay: Replay, directory: Path) -> None:
        """Judge the states of a replay.

        Args:
            replay: its disk.
            directory: for scratch files.
        """
        self._replay = replay
        self.grub = GrubJudge(replay, directory / "grub")

    @property
    def counts(self) -> dict[str, int]:
        """How many distinct contents GRUB was asked about."""
        return {"grub": self.grub.runs}

    def judge(self, told: Told) -> Verdict:
        """Judge the present state of the replay; it is the same afterwards."""
        boots = self.grub.boot()
        first, second = boots.first, boots.second
        if first.slot is None:
            return Verdict("", False, (f"{NOTHING_BOOTS}: {first.said.strip()[-300:]}",))
        is_trial = first.slot in told.may_boot and first.slot not in told.trusted
        wrong = [*self._whole(first)]
        if first.slot not in told.may_boot:
            wrong.append(f"{NOT_TRUSTED}: slot {first.slot} does{self._holds(first)}, and slot {told.may_boot} has to")
        elif second.slot is None:
            wrong.append(f"{NOTHING_BOOTS} after that: {second.said.strip()[-300:]}")
        elif is_trial and second.slot not in told.trusted:
            wrong.append(f"{NO_WAY_BACK}: slot {second.slot} does once more{self._holds(second)}")
        elif second.slot != first.slot:
            # A boot that nobody confirms may count as a failed one, whoever makes it; but what boots then is whole.
            wrong += self._whole(second)
        return Verdict(first.slot, is_trial, tuple(wrong))

    def comes_up(self, _verdict: Verdict) -> set[str]:
        """Of other procedures nothing is booted for real."""
        return set()

    def _whole(self, boot: Boot) -> Iterator[str]:
        if not self._versions(boot):
            yield f"{NOT_WHOLE}: slot {boot.slot}"

    def _holds(self, boot: Boot) -> str:
        versions = self._versions(boot)
        return f", with {' and '.join(sorted(versions))}" if versions else ", with no image whole"

    def _versions(self, boot: Boot) -> set[str]:
        return self._replay.versions(f"{boot.slot}_boot") & self._replay.versions(f"{boot.slot}_root")
