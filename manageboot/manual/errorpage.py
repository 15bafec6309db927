"""docs/errors.md, from the same texts as `manageboot explain`."""

from manageboot.cli import explain, remedies

_HEAD = """\
# Errors

An error is one line, `manageboot: error: cannot VERB OBJECT: CAUSE [CODE_WORD]`, and often a line `hint: …`. The code
word keeps its meaning from release to release; the sentence may change.

`manageboot explain CODE_WORD` shows the same offline, also of what [`doctor` finds](command-line.md#what-doctor-finds),
and of [the causes of a fallback](operations.md#the-causes-of-a-fallback). Without a word it lists them all.

| code word | exit status | what it means | what to do |
|---|---|---|---|
"""

_FOOT = """
A run that is interrupted (SIGINT) exits with 130, one that is terminated (SIGTERM or SIGHUP) with 143. The node is as
safe as before. If it was an installation, the passive slot is void.
"""


def page() -> str:
    """Make the document."""
    rows = [
        f"| `{kind.code}` | {kind.exit_code} | {explain.meaning(kind)} | {remedies.ERRORS[kind.code]} |"
        for kind in explain.error_kinds()
    ]
    return _HEAD + "\n".join(rows) + "\n" + _FOOT
