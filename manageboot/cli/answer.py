"""What `--json` prints of a run: one object on stdout, with what the verb did, or with the error that ended it."""

from typing import Any

from manageboot import errors
from manageboot.config import Config
from manageboot.system import console, text

SCHEMA = 1

_NOWHERE = {"state": None, "booted": None, "next": None}
warnings: list[str] = []
"""What the verb warned of; who reads the object alone has to learn it as well."""


def show(result: dict[str, Any]) -> None:
    """Print an object.

    Raises:
        DeviceError: nobody takes it.
    """
    import json

    console.answer(json.dumps(text.encodable_all(result), indent=2))


def done(verb: str, words: str, config: Config | None) -> None:
    """Print what a verb has done, and where the node is now, if it is about one."""
    show({"schema": SCHEMA, "verb": verb, "done": words, "warnings": list(warnings), **_now(config)})


def failed(error: errors.ManagebootError) -> None:
    """Print an error; what was found out all the same stands beside it."""
    said = {"code": error.code, "exit": error.exit_code, "message": str(error), "hint": error.hint}
    beside = {"schema": SCHEMA} if error.found is None else error.found
    _try_to_show({**beside, "error": said, "warnings": list(warnings)})


def ended(code: str, exit_status: int) -> None:
    """Print that a signal ended the run."""
    said = {"code": code, "exit": exit_status, "message": code.lower(), "hint": None}
    _try_to_show({"schema": SCHEMA, "error": said, "warnings": list(warnings)})


def _try_to_show(result: dict[str, Any]) -> None:
    """Print an object where somebody takes it; the error has its exit status in any case."""
    try:
        show(result)
    except errors.ManagebootError:
        return


def _now(config: Config | None) -> dict[str, Any]:
    """Say where the node is; the verb has done its work, whether that can be seen or not."""
    if config is None:
        return _NOWHERE
    from manageboot.boot.node import observe

    try:
        node = observe(config)
        state, block = node.state, node.environment.state
    except errors.ManagebootError:
        return _NOWHERE
    return {
        "state": state.phase.value,
        "booted": state.booted.value,
        "next": None if block is None else block.next.value,
    }
