"""What a code word means, and what to do about it: of an error, a finding, a problem, or a trial that did not stay."""

import textwrap
from typing import NamedTuple

from manageboot import errors
from manageboot.boot import fallback
from manageboot.cli import remedies
from manageboot.fetch import failures  # noqa: F401 - its errors are found below the root of the tree
from manageboot.report import doctor

_COLUMNS = 80


class Explanation(NamedTuple):
    """One meaning of a word; a few words are used for two things."""

    word: str
    kind: str
    """Where a person meets the word."""
    meaning: str
    remedy: str


def error_kinds() -> list[type[errors.ManagebootError]]:
    """List the classes of errors that have a code word of their own, by their exit status."""
    found: list[type[errors.ManagebootError]] = [errors.ManagebootError]
    for kind in found:
        found += kind.__subclasses__()
    return sorted((kind for kind in found if "code" in vars(kind)), key=lambda kind: kind.exit_code)


def meaning(kind: type[errors.ManagebootError]) -> str:
    """Say what an error means."""
    return (kind.__doc__ or "").partition("\n\n")[0].replace("\n    ", " ")


def explanations() -> list[Explanation]:
    """List all that can be explained."""
    found = [
        Explanation(kind.code, f"error, exit status {kind.exit_code}", meaning(kind), remedies.ERRORS[kind.code])
        for kind in error_kinds()
    ]
    found += [
        Explanation(word, "finding of doctor", _sentence(remedies.FINDINGS[word]), _sentence(remedy))
        for word, remedy in doctor.REMEDIES.items()
    ]
    found += [Explanation(word, "problem in status", *texts) for word, texts in remedies.PROBLEMS.items()]
    found += [
        Explanation(
            cause, "cause of a fallback", f"The trial did not stay: {fallback.TEXTS[cause]}.", _sentence(remedy)
        )
        for cause, remedy in remedies.FALLBACKS.items()
    ]
    return found


def explain(word: str) -> str:
    """Explain a word for a person.

    Raises:
        UsageError: there is no such word.
    """
    wanted = word.strip("[]`.,:")
    known = explanations()
    meant = [one for one in known if one.word.casefold() == wanted.casefold()]
    if not meant:
        raise errors.UsageError(f"cannot explain {word!r}: there is no such code word", hint=_hint(wanted, known))
    return "\n\n".join(
        f"{one.word} ({one.kind})\n{_filled(one.meaning)}\n{_filled(f'What to do: {one.remedy}')}" for one in meant
    )


def overview() -> str:
    """List all words, each with what it means."""
    lines: list[str] = []
    kind = ""
    for one in explanations():
        if one.kind.partition(",")[0] != kind:
            kind = one.kind.partition(",")[0]
            lines += [""] * bool(lines) + [f"{kind}:"]
        lines += [f"  {one.word}", _filled(one.meaning, "      ")]
    return "\n".join(lines)


def _hint(word: str, known: list[Explanation]) -> str:
    import difflib

    words = {one.word.casefold(): one.word for one in known}
    near = difflib.get_close_matches(word.casefold(), words, n=1)
    nearest = f"{words[near[0]]} is the nearest; " if near else ""
    return f"{nearest}`manageboot explain` lists all"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _filled(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text, _COLUMNS, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
