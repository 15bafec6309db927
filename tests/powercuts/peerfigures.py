"""What the promises of other procedures come to: how many states break each, and where the power has to go for that."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from powercuts.campaign import Result, Violation
from powercuts.cuts import parse
from powercuts.peerjudge import KINDS, kind_of

RESET, POWER_CUT = "reset", "power cut"


def counts(result: Result) -> Counter[tuple[str, str]]:
    """Count the states that break a promise, by the promise and by what leaves them: a reset, or only a power cut."""
    return Counter((kind, cause) for kind, cause, _ in _broken(result))


class Window(NamedTuple):
    """Where in a step the power has to go to break a promise."""

    step: str
    first: int
    """The first request after which it may."""
    last: int
    requests: int
    """After how many of those in between it may."""


def windows(result: Result, kind: str, *causes: str) -> list[Window]:
    """Give the windows for one promise, a step each."""
    found: dict[str, set[int]] = {}
    for broken, cause, violation in _broken(result):
        if broken == kind and cause in causes:
            found.setdefault(violation.step, set()).add(parse(violation.cut).position)
    return [Window(step, min(places), max(places), len(places)) for step, places in found.items()]


def table(results: Sequence[Result]) -> str:
    """Write the figures as a table in Markdown; nothing without results."""
    if not results:
        return ""
    lines = [
        "| procedure | requests | states | broken promise | states, reset | states, power cut | after which requests |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        found = counts(result)
        head = f"| {result.title} | {result.requests:,} | {result.states:,} |"
        kinds = [kind for kind in KINDS if any(kind == broken for broken, _ in found)]
        lines += [
            f"{head} {kind} | {found[kind, RESET]:,} | {found[kind, POWER_CUT]:,} | {_places(result, kind)} |"
            for kind in kinds
        ] or [f"{head} none | 0 | 0 | |"]
    return "\n".join(lines) + "\n"


def _broken(result: Result) -> Iterator[tuple[str, str, Violation]]:
    for violation in result.violations:
        for kind in dict.fromkeys(map(kind_of, violation.wrong)):
            yield kind, _cause(violation), violation


def _cause(violation: Violation) -> str:
    """Name what leaves the state: nothing that was asked for is lost at a reset."""
    cut = parse(violation.cut)
    return RESET if cut.kept is None and cut.torn is None else POWER_CUT


def _places(result: Result, kind: str) -> str:
    return "; ".join(
        f"{step}: {requests} from {first} to {last}"
        for step, first, last, requests in windows(result, kind, RESET, POWER_CUT)
    )
