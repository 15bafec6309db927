"""What is done beside the work: journal, history, metrics, progress, notices to systemd.

None of it is a reason to fail the work. An installation is whole, and a trial confirmed or aborted, whether or not
anybody can be told; so whatever goes wrong with the telling, a bug of ours or of a library included, is a warning.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

_told: set[tuple[str, str]] = set()
_TOLD_LIMIT = 50
"""A cause may have a number in it that is another one each time."""


@contextmanager
def beside(loss: str) -> Iterator[None]:
    """Do in a with block what must not fail the work; what it raises ends the block, and nothing else.

    Args:
        loss: what is lost then, as the first half of a sentence such as "the metrics may be behind". It is said with
            the cause, and each cause once in the life of the process.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  that is what it is for
        # The warning may be told to somebody who fails as well.
        with suppress(Exception):
            _warn(loss, error)


def _warn(loss: str, error: Exception) -> None:
    # Imported here: no query gets to this.
    import logging

    from manageboot.errors import ManagebootError

    cause = str(error) if isinstance(error, ManagebootError | OSError) else f"{type(error).__name__}: {error}"
    if (loss, cause) in _told or len(_told) >= _TOLD_LIMIT:
        return
    _told.add((loss, cause))
    logging.getLogger(__name__).warning("%s: %s", loss, cause)
