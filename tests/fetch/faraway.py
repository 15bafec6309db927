"""In a network of its own, where 192.0.2.1 is far away: a mirror there sends us to a service of this node."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

if __name__ == "__main__":
    from manageboot.fetch import failures
    from manageboot.fetch.download import Download
    from manageboot.fetch.fetcher import Fetcher
    from manageboot.fetch.options import Options
    from support.hostile import CONTENT, Hostile, answers, honest

    with (
        Hostile(honest) as service,
        Hostile(answers(302, Location=f"{service.url}file"), host="192.0.2.1") as mirror,
        Fetcher([mirror.url], Options()) as running,
    ):
        try:
            Download(running, "file", 0, len(CONTENT)).take(1)
            print("it was fetched")
        except failures.FetchError as error:
            print(error.code, len(service.asked))
