"""What has to be right of a disk at any instant: the rules, and who says whether they hold."""

import hashlib
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from manageboot.boot import floor
from manageboot.events import history
from powercuts import vouched
from powercuts.agentjudge import Agent, Ended, agent
from powercuts.boots import Boot, GrubJudge
from powercuts.filesystems import FileSystem
from powercuts.recording import Recording
from powercuts.replay import Replay
from powercuts.vouched import Vouched
from support.grubemu import Grub, Question

OTHER = {"A": "B", "B": "A"}
_GRUB_FILES = ("grubenv", "manageboot.env", "manageboot.log", "grub.cfg", *vouched.NAMES)
_RECORD = "/lib/manageboot/record.json"
_REFUSED = 69
_DAMAGED = "BLOCK_DAMAGED"
_HEAD_BYTES = 128 << 10
_LOADED = ("vmlinuz", "initrd.img")
_TRIED = {"first_boot", "failsafe_check"}
_WHOLE = {"installed", "committed", "confirmed"}
"""What a record may say of a slot that holds an image whole."""


class Told(NamedTuple):
    """What the node has said before the power goes, and what follows from that."""

    may_boot: str
    """The slots that may boot next."""
    runs_in: str
    """The slot that the present step runs in; empty: it boots in between."""
    again: str
    """The verb that completes the present step."""
    newest_event: int
    """The sequence number of the last event that was told; -1: there was none."""
    meddled: str = ""
    """What somebody else changes in the present step, who owes nothing: the block, or a slot."""
    installed: str = ""
    """The slot that an installation was told to have filled."""
    trusted: str = ""
    """The slots whose system is confirmed, where the rules ask for it."""
    vouched: Vouched = Vouched()
    """What was kept of releases by then."""


class Verdict(NamedTuple):
    """What was found of one state."""

    slot: str
    """That boots; empty: none."""
    is_trial: bool
    wrong: tuple[str, ...]
    """Which rules do not hold, in words."""


@contextmanager
def manageboots_rules(recording: Recording, replay: Replay, directory: Path) -> Iterator["Judge"]:
    """Give the judge of a node that manageboot runs on."""
    with agent(replay.path, recording.places) as found:
        yield Judge(recording, replay, found, directory)


class Judge:
    """GRUB, the agent and the tools of the file systems, on a replay."""

    def __init__(self, recording: Recording, replay: Replay, agent: Agent, directory: Path) -> None:
        """Judge the states of a replay.

        Args:
            recording: what is replayed.
            replay: its disk.
            agent: on that disk.
            directory: for scratch files.
        """
        self._recording = recording
        self._replay = replay
        self._agent = agent
        self._directory = directory
        self.grub = GrubJudge(replay, directory / "grub")
        self._asking: dict[str, Grub] = {}
        self._known_agents: dict[object, tuple[str, ...]] = {}
        self._known_kernels: dict[tuple[object, ...], set[str] | None] = {}
        self._kernels = {version: _kernel_of(images["boot"]) for version, images in recording.versions.items()}
        self._known_systems: dict[tuple[object, ...], tuple[str, dict[str, bytes]]] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How many distinct things were asked: contents that GRUB reads, that the agent reads, and file systems."""
        return {
            "grub": self.grub.runs,
            "agent": len(self._known_agents),
            "file systems": len(self._known_systems),
        }

    def judge(self, told: Told) -> Verdict:
        """Judge the present state of the replay; it is the same afterwards."""
        boots = self.grub.boot()
        first, second = boots.first, boots.second
        if first.slot is None:
            return Verdict("", False, (f"nothing boots: {first.said.strip()[-300:]}",))
        wrong = [*self._whole(first), *self._expected(first, told), *self._passive(OTHER[first.slot], told)]
        _, files = self._system("grub", _GRUB_FILES)
        wrong += [*trusted_too_early(files), *told_too_early(files)]
        wrong += vouched.raised_too_early(files, told.vouched, _on_trial(files.get("grubenv")))
        undos = [self._replay.write(offset, data) for offset, data in boots.writes]
        try:
            trouble, files = self._system("grub", _GRUB_FILES)
            if trouble:
                wrong.append(f"GRUB's file system: {trouble}")
            is_trial = _cycle(files.get("grubenv")) == "failsafe_check"
            after = OTHER[first.slot] if is_trial else first.slot
            if second.slot != after:
                wrong.append(f"after slot {first.slot}, not confirmed, slot {after} has to boot; it is {second.slot}")
            else:
                wrong += self._whole(second)
            wrong += [one for one in trusted_too_early(files) if one not in wrong]
            if "manageboot.fault=damaged" in first.arguments and told.meddled != "block":
                wrong.append("GRUB can't read the block")
            wrong += self._history(files.get("manageboot.log"), told)
            wrong += vouched.missing(files, told.vouched)
            wrong += self._agent_goes_on(first, files, told, is_trial)
        finally:
            self._replay.undo(undos)
        return Verdict(first.slot, is_trial, tuple(wrong))

    def whole(self, slot: str) -> set[str]:
        """Name the versions that a slot holds whole."""
        return self._replay.versions(f"{slot}_boot") & self._replay.versions(f"{slot}_root")

    def comes_up(self, verdict: Verdict) -> set[str]:
        """Name the versions of which one has to come up where nothing is wrong; none: nothing is owed.

        So it is with a slot that somebody has written to, and with a trial whose var the power has left half made.
        """
        trouble, _ = self._system(f"{verdict.slot}_var", [_RECORD])
        if trouble and "no file system" not in trouble:
            return set()
        return self.whole(verdict.slot) & self._recording.versions.keys()

    def _whole(self, boot: Boot) -> Iterator[str]:
        assert boot.slot
        if not self.whole(boot.slot):
            yield f"slot {boot.slot} boots, and holds no image whole"

    def _expected(self, boot: Boot, told: Told) -> Iterator[str]:
        assert boot.slot
        if boot.slot not in told.may_boot:
            yield f"slot {boot.slot} boots, and slot {' or '.join(told.may_boot)} has to"

    def _passive(self, slot: str, told: Told) -> Iterator[str]:
        """What GRUB could load is a whole system; and what was told to be installed is there."""
        if slot == told.meddled:
            return
        if slot == told.installed and not self.whole(slot):
            yield f"slot {slot} was told to be installed, and holds no image whole"
        kernels = self._kernels_of(slot)
        if kernels is not None and kernels.isdisjoint(self._replay.versions(f"{slot}_root")):
            yield f"GRUB could load a kernel of slot {slot}, and its root is not whole"

    def _kernels_of(self, slot: str) -> set[str] | None:
        """Name the versions whose kernel and initrd GRUB could load from a slot; None: it could load none."""
        name = f"{slot}_boot"
        if whole := self._replay.versions(name):
            return whole
        key = (name, *self._replay.fingerprint(name))
        if key not in self._known_kernels:
            loaded = self._load(name)
            # More than one may have the same.
            found = {version for version, files in self._kernels.items() if files == loaded}
            self._known_kernels[key] = None if loaded is None else found
        return self._known_kernels[key]

    def _load(self, name: str) -> tuple[bytes, ...] | None:
        """Let GRUB read what it boots from a slot; None: it can't."""
        if not any(self._replay.read(self._replay.regions[name].offset, _HEAD_BYTES)):
            return None
        part = self._recording.plan.grub_name(name)
        digests = []
        for file in _LOADED:
            command = ["grub-fstest", self._replay.path, "cat", f"({part})/{file}"]
            done = subprocess.run(command, capture_output=True, check=False)
            # Of an inode that is zeros GRUB reads an empty file, which is no kernel.
            if done.returncode or not done.stdout:
                return None
            digests.append(hashlib.sha256(done.stdout).digest())
        return tuple(digests)

    def _system(self, name: str, wanted: Sequence[str]) -> tuple[str, dict[str, bytes]]:
        """Check a file system, and read files of it, as it is after a replay of its journal."""
        key = (name, *self._replay.fingerprint(name))
        if key not in self._known_systems:
            copy = self._directory / f"{name}.img"
            self._replay.copy(name, copy)
            system = FileSystem(copy)
            targets = {f"/{path.lstrip('/')}": self._directory / Path(path).name for path in wanted}
            system.read(targets)
            files = {target.name: target.read_bytes() for target in targets.values() if target.exists()}
            self._known_systems[key] = (system.check(), files)
        return self._known_systems[key]

    def _history(self, content: bytes | None, told: Told) -> Iterator[str]:
        """At most the event that was being written may be missing, or the one that it replaces."""
        found = history.parse(content or b"")
        numbers = [entry.sequence for entry in found.entries]
        newest = max(numbers, default=-1)
        if newest < told.newest_event:
            yield f"the history ends with event {newest}, and {told.newest_event} was told"
        held = min(newest + 1, history.RECORD_COUNT)
        if len(numbers) < held - 1 or found.damaged > 1:
            yield f"the history holds {len(numbers)} events of {held}, and {found.damaged} damaged ones"

    def _agent_goes_on(self, boot: Boot, files: dict[str, bytes], told: Told, is_trial: bool) -> tuple[str, ...]:
        """Start the agent in the system that boots, let it look, and let it go on."""
        slot = boot.slot
        assert slot
        others = self._replay.fingerprint("grub", f"{slot}_var", "A_boot", "B_boot")
        passive = tuple(sorted(self.whole(OTHER[slot])))
        # What somebody meddles with is excused, and only as long as that lasts.
        key = (others, passive, boot.arguments, told.runs_in, told.again, told.meddled)
        if key not in self._known_agents:
            self._known_agents[key] = tuple(self._ask_agent(boot, files, told, is_trial))
        return self._known_agents[key]

    def _ask_agent(self, boot: Boot, files: dict[str, bytes], told: Told, is_trial: bool) -> Iterator[str]:
        slot = boot.slot
        assert slot
        trouble, found = self._system(f"{slot}_var", [_RECORD])
        if trouble and not is_trial and "no file system" not in trouble:
            yield f"var of slot {slot}: {trouble}"
        self._lay_out(files, found, boot)
        status = self._agent.run("status", "--json")
        if status.status:
            yield f"status exited with {status.status}: {status.err.strip()}"
            return
        seen: dict[str, Any] = json.loads(status.out)
        if seen["booted"] != slot:
            yield f"status says that slot {seen['booted']} is booted"
        state = seen["state"]
        if is_trial != (state == "trial"):
            yield f"status says {state}, and GRUB has started {'a trial' if is_trial else 'no trial'}"
        record = seen["slots"][OTHER[slot]]["record"]
        if record and record["state"] in _WHOLE and OTHER[slot] != told.meddled and not self.whole(OTHER[slot]):
            yield f"the record says that slot {OTHER[slot]} is {record['state']}, and it holds no image whole"
        yield from self._repeat(files, found, boot, told)
        self._lay_out(files, found, boot)
        yield from self._go_on(state, slot, told)

    def _go_on(self, state: str, slot: str, told: Told) -> Iterator[str]:
        """Do what a node would do next, and see that GRUB follows."""
        if state == "trial":
            yield from self._ask_for(("confirm",), slot)
            yield from self._raised(slot)
        elif state == "pending":
            yield from self._ask_for(("upgrade-cancel",), slot)
        else:
            other = OTHER[slot]
            done = self._agent.run("upgrade-commit", "--no-reboot")
            if done.code == _DAMAGED and told.meddled == "block":
                # A person runs what the hint names.
                done = self._agent.repair()
                done = done if done.status else self._agent.run("upgrade-commit", "--no-reboot")
            if done.status == _REFUSED:
                return
            if done.status == 0 and not self.whole(other):
                yield f"slot {other} was committed, and holds no image whole"
            yield from self._followed(done, "upgrade-commit", other)

    def _ask_for(self, words: Sequence[str], slot: str) -> Iterator[str]:
        yield from self._followed(self._agent.run(*words), words[0], slot)

    def _followed(self, done: Ended, verb: str, slot: str) -> Iterator[str]:
        """See that a verb worked, and that the slot boots which it has promised."""
        if done.status:
            yield f"{verb} exited with {done.status}: {done.err.strip()}"
        elif (booted := self._next()) != slot:
            yield f"after {verb} slot {slot} has to boot; it is {booted}"

    def _repeat(self, files: dict[str, bytes], found: dict[str, bytes], boot: Boot, told: Told) -> Iterator[str]:
        """Run the verb once more that was cut; in the slot that it ran in, it has to work."""
        if told.again in {"", "upgrade-install", "repair"} or told.runs_in != boot.slot:
            return
        self._lay_out(files, found, boot)
        words = [told.again, *(["--no-reboot"] if told.again in {"upgrade-commit", "rollback"} else [])]
        done = self._agent.run(*words)
        if done.status:
            yield f"{told.again}, repeated, exited with {done.status}: {done.err.strip()}"
        elif told.again == "confirm":
            yield from self._raised(boot.slot)

    def _raised(self, slot: str) -> Iterator[str]:
        """See that a confirm has raised the floor to the release that the slot holds."""
        path = self._agent.grub / floor.FILE_NAME
        if path.exists() and vouched.is_behind(path.read_bytes(), slot):
            yield f"after confirm the floor is lower than the release in slot {slot}"

    def _lay_out(self, files: dict[str, bytes], found: dict[str, bytes], boot: Boot) -> None:
        """Put GRUB's files and the records where the agent finds them."""
        for name in _GRUB_FILES:
            path = self._agent.grub / name
            path.unlink(missing_ok=True)
            if name in files:
                path.write_bytes(files[name])
        for path in self._agent.state.iterdir():
            path.unlink()
        for name, content in found.items():
            (self._agent.state / name).write_bytes(content)
        self._agent.boot(boot.arguments)

    def _next(self) -> str | None:
        """Ask GRUB which slot it starts by the block that the agent has left."""
        script = (self._agent.grub / "grub.cfg").read_text()
        if script not in self._asking:
            self._asking[script] = Grub(self._directory / f"asking{len(self._asking)}", script)
        witness = self._agent.grub / "manageboot.env"
        question = Question(self._agent.block(), witness.read_bytes() if witness.exists() else None, "AB")
        return self._asking[script].ask(question).slot


def _kernel_of(image: Path) -> tuple[bytes, ...]:
    """Read what GRUB boots out of the image of a boot partition."""
    digests = []
    for file in _LOADED:
        done = subprocess.run(["debugfs", "-R", f"cat {file}", image], capture_output=True, check=True)
        digests.append(hashlib.sha256(done.stdout).digest())
    return tuple(digests)


def trusted_too_early(files: dict[str, bytes]) -> Iterator[str]:
    """Without the block GRUB goes by the second one; that must never name a slot that is on trial."""
    block, named = files.get("grubenv"), _value(files.get("manageboot.env"), "mb_trusted")
    if named and _on_trial(block) == named:
        yield f"slot {named} is on trial, and counts as trusted already"


def told_too_early(files: dict[str, bytes]) -> Iterator[str]:
    """Of a trial it is told that it has begun when GRUB's own word of that is on the disk; else it would begin anew."""
    block = files.get("grubenv")
    last = history.parse(files.get("manageboot.log") or b"").entries[-1:]
    waits = _value(block, "boot_alternative") if _cycle(block) == "first_boot" else ""
    if last and last[0].event == "trial_started" and last[0].slot == waits:
        yield f"the history says that the trial of slot {waits} has begun, and the block does not"


def _on_trial(block: bytes | None) -> str:
    """Name the slot that a trial is of, or will be."""
    return _value(block, "boot_alternative") if _cycle(block) in _TRIED else ""


def _cycle(block: bytes | None) -> str:
    return _value(block, "boot_cycle")


def _value(block: bytes | None, name: str) -> str:
    """Read a variable as GRUB does: the last one counts."""
    start = f"{name}=".encode()
    found = [line.removeprefix(start) for line in (block or b"").split(b"\n") if line.startswith(start)]
    return found[-1].decode(errors="replace") if found else ""
