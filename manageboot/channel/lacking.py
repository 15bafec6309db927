"""Which errors mean that a file is not to be had, so that another way may do."""

from manageboot import errors

_LACKING = frozenset({"FETCH_GONE", "FETCH_REFUSED", "FETCH_LIED"})
"""Code words that say that a file is not to be had, and nothing of the others on the same servers."""


def is_lacking(error: errors.ManagebootError) -> bool:
    """Tell whether a file of a delta is missing, bad, or on a disk that fails, so that another way may do."""
    of_the_file = (errors.DataError, errors.InputError, errors.DeviceError)
    return isinstance(error, of_the_file) or error.code in _LACKING
