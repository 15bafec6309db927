"""The directory of one release in a place, and the files that its release.json names."""

import hashlib

from manageboot.channel.place import Pack, Place
from manageboot.channel.plan import Plan
from manageboot.release.description import INDEX_BYTES_MAX, File
from manageboot.release.index import check_file


class Folder:
    """Reads what a place has of a release."""

    def __init__(self, place: Place, path: str) -> None:
        """Read from a directory of a place; empty: the place itself."""
        self.place = place
        self.path = path

    def name(self, file: str) -> str:
        """Return what messages call a file."""
        return f"{self.place.name}/{self._inside(file)}"

    def read(self, file: str, published: File) -> bytes:
        """Read and verify a file that is read as a whole.

        Raises:
            ReleaseDigestError: it is not the one that was published.
            InputError, FetchError, NotPermittedError, DeviceError: it can't be read.
        """

        def judge(content: bytes) -> None:
            found = hashlib.sha256(content).hexdigest()
            check_file(self.name(file), published.size, published.sha256, len(content), found)

        limit = min(published.size, INDEX_BYTES_MAX)
        return self.place.read(self._inside(file), limit, judge=judge, size=published.size)

    def open(self, file: str, plan: Plan, *, aside: bool = False) -> Pack:
        """Open a pack; the arguments are those of `Place.open`.

        Raises:
            InputError, NotPermittedError, DeviceError: it can't be opened.
        """
        return self.place.open(self._inside(file), plan, aside=aside)

    def _inside(self, file: str) -> str:
        return f"{self.path}/{file}" if self.path else file
