"""Ways to the code words of releases, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

from support.repository import Repository


def published(directory: Path) -> Repository:
    """Publish one release, signed as it has to be."""
    repository = Repository(directory)
    repository.make()
    return repository


def no_description(directory: Path) -> list[str | Path]:
    release = published(directory).www / "1.0"
    (release / "release.json").write_text("{")
    return ["release", "check", release]


def of_the_future(directory: Path) -> list[str | Path]:
    path = published(directory).www / "1.0" / "release.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": "2.0"}))
    return ["release", "check", path.parent]


def other_pack(directory: Path) -> list[str | Path]:
    path = published(directory).www / "1.0" / "full.pack"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return ["release", "check", path.parent]


def other_timestamp(directory: Path) -> list[str | Path]:
    repository = published(directory)
    path = repository.www / "metadata" / "timestamp.json"
    path.write_bytes(
        path.read_bytes().replace(b'"version": 1', b'"version": 9').replace(b'"version":1', b'"version":9')
    )
    return ["release", "check", repository.www]


def one_key_of_three(directory: Path) -> list[str | Path]:
    repository = published(directory)
    return ["release", "sign", repository.www, "1.0", "--key", *repository.key("timestamp")]


RELEASES: dict[str, Callable[[Path], list[str | Path]]] = {
    "RELEASE_FORMAT": no_description,
    "RELEASE_TOO_NEW": of_the_future,
    "RELEASE_SHA256": other_pack,
    "METADATA": other_timestamp,
    "SIGNATURES_MISSING": one_key_of_three,
}
