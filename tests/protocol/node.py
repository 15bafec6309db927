"""A node as a value: all that a power cut leaves, and what the running system knows. And the agent as a function of it.

The agent is the real one: its verbs, installation included, run in this process, on files that are written from the
value before and read back after each durable step.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from manageboot import config as configuration
from manageboot import errors
from manageboot.boot import cmdline, envblock, fallback, header, record
from manageboot.boot import node as nodes
from manageboot.boot.markers import TrialMarker
from manageboot.boot.record import SlotRecord
from manageboot.disk import devices
from manageboot.events import events
from manageboot.install import install
from manageboot.protocol import Content, Slot
from manageboot.upgrade import abort, arming, sample, verbs
from protocol import installation
from protocol.truth import NOTHING, Told, Truth

VOID, NEW, TORN, GOOD = installation.VOID, installation.NEW, installation.TORN, "good"
"""What really is in a slot: nothing that boots, an image that was never confirmed, a part of one, a system that was."""

NOW = "2026-01-01T00:00:00+00:00"
_FILES = ("grubenv", "manageboot.env", "given-up")


class State(NamedTuple):
    """One state of the node."""

    booted: str | None
    """The slot that runs; None: the node is off."""
    block: bytes | None
    undo: tuple[bytes | None, Truth | None] | None
    """The block from before GRUB's write, and what was true then, for as long as a power loss may bring it back."""
    witness: bytes | None
    contents: tuple[str, str]
    records: tuple[str, str]
    """The record on each slot's var; empty: there is none. Where the slots share one, it stands here twice."""
    arguments: str
    """The kernel command line."""
    boot_id: str
    mark: bytes | None = None
    """What lies in /run of a trial that was aborted in this boot."""
    truth: Truth | None = NOTHING
    """What really became of the last commit; None: nobody knows."""

    def content(self, slot: str) -> str:
        return self.contents["AB".index(slot)]

    def with_content(self, slot: str, content: str) -> "State":
        pair = (content, self.contents[1]) if slot == "A" else (self.contents[0], content)
        return self._replace(contents=pair)

    @property
    def loadable(self) -> str:
        return "".join(slot for slot in "AB" if self.content(slot) != VOID)


class Run(NamedTuple):
    """What a verb did: the states after each durable step, the last one being its end; and how it was refused."""

    states: list[State]
    refusal: str | None


class Agent:
    """The agent on a directory."""

    def __init__(self, directory: Path, *, tries: int, shared: bool) -> None:
        self._directory = directory
        self._shared = shared
        self._told: dict[tuple[object, ...], Told] = {}
        self._known: dict[tuple[object, ...], tuple[list[tuple[object, ...]], str | None]] = {}
        self.runs = 0
        devices = "\n".join(f'{role} = "/dev/SLOT{role}"' for role in ("boot", "root", "var"))
        slots = "".join(f"[slots.{slot}]\n{devices.replace('SLOT', slot)}\n" for slot in "AB")
        for slot in "AB":
            self._records(slot).mkdir(exist_ok=True)
            text = (
                f'profile = "custom"\n[boot]\ngrubenv = "{directory}/grubenv"\ncmdline = "{directory}/cmdline"\n'
                f'tries = {tries}\n[state]\ndirectory = "{self._records(slot)}"\nlock = "{directory}/lock"\n{slots}'
            )
            (directory / f"{slot}.toml").write_text(text)
        (directory / "grub.cfg").write_text("# GRUB's configuration lies here\n")
        self._update = directory / "update-img.tar"
        installation.make_update(self._update)
        self._configs = {slot: configuration.load(str(directory / f"{slot}.toml")) for slot in "AB"}

    def next(self, state: State) -> str | None:
        """What `manageboot next` says; None: the block is damaged."""
        self._lay_out(state)
        block = envblock.read(str(self._directory / "grubenv")).state
        return None if block is None else block.next.value

    def told(self, state: State) -> Told:
        """What the agent says that fell back, and why."""
        assert state.booted is not None
        mine = "AB".index(state.booted)
        key = (state.booted, state.block, state.witness, state.records[mine], state.arguments, state.boot_id)
        if key not in self._told:
            self._lay_out(state)
            with mock.patch.object(cmdline, "boot_id", lambda: state.boot_id):
                found = fallback.detect(nodes.observe(self._configs[state.booted]))
            self._told[key] = None if found is None else (found.slot.value, found.cause.value)
        return self._told[key]

    def run(self, state: State, verb: str) -> Run:
        """Run a verb in the booted system."""
        assert state.booted is not None
        mine = "AB".index(state.booted)
        headless = state.content(other(state.booted)) == VOID
        # Whether a commit had it before, more tells than what this slot sees.
        nonce = fresh("n", f"{state.block!r}{state.records}{state.arguments}")
        key = (state.booted, state.block, state.undo is None, state.witness, state.records[mine], state.arguments,
               state.boot_id, state.mark, headless, nonce, verb)  # fmt: skip
        if key not in self._known:
            self.runs += 1
            self._known[key] = self._really_run(state, verb, nonce)
        steps, refusal = self._known[key]
        states = []
        for block, witness, mark, entry, flushed, content in steps:
            records = [str(entry)] * 2 if self._shared else list(state.records)
            records[mine] = str(entry)
            undo = None if flushed else state.undo
            after = state._replace(block=block, witness=witness, mark=mark, records=(records[0], records[1]), undo=undo)
            states.append(after.with_content(other(state.booted), str(content)) if content else after)
        return Run(states, refusal)

    def _really_run(self, state: State, verb: str, nonce: str) -> tuple[list[tuple[object, ...]], str | None]:
        self._lay_out(state)
        assert state.booted is not None
        config = self._configs[state.booted]
        steps: list[tuple[object, ...]] = []
        flushed = False
        contents = (installation.SAME, installation.SAME)

        def snapshot() -> None:
            files = *(self._read(name) for name in _FILES), self._record(str(state.booted))
            steps.extend((*files, flushed, content) for content in dict.fromkeys(contents))

        def durable(function: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **options: object) -> object:
                nonlocal flushed
                result = function(*arguments, **options)
                flushed = flushed or function is not record_store
                snapshot()
                return result

            return wrapped

        def see(after_a_kill: str, after_a_power_cut: str) -> None:
            nonlocal contents
            if (after_a_power_cut, after_a_kill) != contents:
                contents = (after_a_power_cut, after_a_kill)
                snapshot()

        actions: dict[str, Callable[[], object]] = {
            "upgrade-install": lambda: installation.run(config, self._update, see),
            "upgrade-commit": lambda: verbs.commit(config, reboot=False),
            "upgrade-cancel": lambda: verbs.cancel(config),
            "confirm": lambda: verbs.confirm(config),
            "rollback": lambda: verbs.rollback(config, reboot=False),
            "deadline": lambda: verbs.rollback(config, reboot=False, because=TrialMarker.DEADLINE),
            "arrived": lambda: verbs.arrive(config),
        }
        record_store = record.store
        with (
            mock.patch.object(envblock, "write", durable(envblock.write)),
            mock.patch.object(envblock, "write_trusted", durable(envblock.write_trusted)),
            mock.patch.object(envblock, "settle", durable(envblock.settle)),
            mock.patch.object(record, "store", durable(record_store)),
            mock.patch.object(abort, "mark", durable(abort.mark)),
            mock.patch.object(verbs, "now", lambda: NOW),
            mock.patch.object(install, "now", lambda: NOW),
            mock.patch.object(os, "urandom", bytes),
            mock.patch.object(arming, "new_nonce", lambda: nonce),
            mock.patch.object(verbs, "running_version", lambda: None),
            mock.patch.object(cmdline, "boot_id", lambda: state.boot_id),
            mock.patch.object(devices, "find", lambda spec: spec),
            mock.patch.object(header, "_read", lambda _: bytearray([state.content(other(str(state.booted))) != VOID])),
            # Nobody writes to the slot between an installation and its commit here; test_sample.py has those who do.
            mock.patch.object(sample, "_changed", lambda *_: None),
            mock.patch.object(events, "announce", lambda *_, **__: None),
            mock.patch.object(events, "announce_fallback", lambda *_: None),
        ):
            refusal = None
            try:
                actions[verb]()
            except errors.ManagebootError as error:
                refusal = error.code
            except Exception as error:  # noqa: BLE001  the front door says INTERNAL then, and no rule allows that
                refusal = f"INTERNAL, {error!r}"
        snapshot()
        return steps, refusal

    def _lay_out(self, state: State) -> None:
        for name, data in zip(_FILES, (state.block, state.witness, state.mark), strict=True):
            path = self._directory / name
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)
        for slot, text in zip("AB", state.records, strict=True):
            path = self._records(slot) / record.FILE_NAME
            path.unlink(missing_ok=True)
            if text:
                path.write_text(text)
        (self._directory / "cmdline").write_text(state.arguments + "\n")

    def _read(self, name: str) -> bytes | None:
        path = self._directory / name
        return path.read_bytes() if path.exists() else None

    def _records(self, slot: str) -> Path:
        return self._directory / ("shared" if self._shared else slot)

    def _record(self, slot: str) -> str:
        path = self._records(slot) / record.FILE_NAME
        return path.read_text() if path.exists() else ""


@contextmanager
def agent(*, tries: int, shared: bool = False) -> Iterator[Agent]:
    """Make an agent; `shared`: whether the slots share their records, or each has a var with its own."""
    # What is durable is told by the steps of the agent, not by this directory: in memory they cost no real flushes.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="manageboot-walk-", dir=memory) as directory:
        yield Agent(Path(directory), tries=tries, shared=shared)


def other(slot: str) -> str:
    return "B" if slot == "A" else "A"


def fresh(letter: str, known: str) -> str:
    """Return a word that is in use nowhere; few are enough, and so the states stay few."""
    return next(word for word in (f"{letter}{number}" for number in range(1, 9)) if word not in known)


def record_text(**contents: str) -> str:
    """Make the record file of a slot's var."""
    with tempfile.TemporaryDirectory() as directory:
        record.store(directory, {Slot(slot): SlotRecord(Content(content)) for slot, content in contents.items()})
        text = (Path(directory) / record.FILE_NAME).read_text()
    assert json.loads(text)
    return text
