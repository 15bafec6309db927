"""One recording from its name to its verdicts: what a process of its own does for it."""

import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from powercuts import releaselife
from powercuts.campaign import Result, Walk
from powercuts.lives import KINDS, life_of
from powercuts.peers import PEERS, peer_life
from powercuts.realboots import Booted, Sound, boot, chosen
from powercuts.recording import Life, Recording, load, record
from qemu_harness.cache import Cache, content_key
from support import judges


def judge_all(name: str, seed: int, samples: int, boots: int) -> Result:
    """Judge all states of one recording, which is made if need be, and boot so many of them for real."""
    recording = recorded(name)
    # Whose GRUB it boots with judges it; each recording has a process of its own.
    os.environ["PATH"] = judges.path_of(recording.release)
    begin_s = time.monotonic()

    def say(step: str) -> None:
        print(f"{name} {time.monotonic() - begin_s:5.0f} s  {step}", file=sys.stderr, flush=True)

    with Walk(recording, seed=seed, samples=samples, say=say) as walk:
        result = walk.run()
    dice = random.Random(f"{name} {seed} boots")
    return result._replace(booted=boot_all(recording, chosen(walk.sound, boots, dice), say))


def boot_all(recording: Recording, states: Sequence[Sound], say: Callable[[str], None]) -> list[Booted]:
    """Boot some states of a recording for real, which are given in its order."""
    found: list[Booted] = []
    if not states:
        return found
    with Walk(recording, seed=0, samples=0) as walk:
        for state in states:
            with walk.at(state.cut) as (_, verdict):
                found.append(boot(Cache.default(), walk.replay.path, state, verdict, walk.judge.comes_up(verdict)))
            say(f"boots {state.cut.label} in {state.step}: {'; '.join(found[-1].wrong) or 'healthy'}")
    return found


def recorded(name: str) -> Recording:
    """Give a recording, which is kept under a name made from all that went into it."""
    cache = Cache.default()
    life, modules = life_named(cache, name)
    sources = [Path(__file__).with_name(f"{module}.py") for module in (*modules, "recording")]
    key = content_key(life.disk.parent.name, life.media.parent.name, *sources)

    def build(directory: Path) -> None:
        record(cache, life, directory, lambda step: print(f"{name} records: {step}", file=sys.stderr, flush=True))

    return load(cache.entry(f"life-{name}", key, build))


def life_named(cache: Cache, name: str) -> tuple[Life, tuple[str, ...]]:
    """Give a life by its name, and the modules that say what happens in it."""
    if name in PEERS:
        return peer_life(cache, PEERS[name]), ("lives", "peers")
    if name == releaselife.NAME:
        return releaselife.release_life(cache), ("lives", "releaselife")
    return life_of(cache, KINDS[name]), ("lives",)
