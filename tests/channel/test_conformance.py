"""The command line for tuf-conformance, once around, on a repository that a server on loopback gives away."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from channel import conformance
from support.releases import small_release
from support.tufrepository import Repository


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=tmp_path / "www")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metadata"
        server.shutdown()
        thread.join()


def test_init_refresh_and_download(tmp_path: Path, url: str):
    repository = Repository(tmp_path / "www")
    repository.add(small_release({"boot": b"b", "root": b"r"}), "1.1")
    repository.publish()
    client = tmp_path / "client"
    words = ["--metadata-dir", str(client), "--metadata-url", url]
    assert conformance.main([*words, "init", str(repository.root_path)]) == 0
    assert conformance.main([*words, "refresh"]) == 0
    assert sorted(path.name for path in client.glob("*.json")) == [
        "root.json", "snapshot.json", "targets.json", "timestamp.json",
    ]  # fmt: skip
    for path in repository.files()[:1]:
        path.write_bytes(b"{}")
    assert conformance.main([*words, "refresh"]) == 1
