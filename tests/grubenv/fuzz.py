"""A target for atheris: whatever the bytes, check, salvage, repair and update keep their word (tests.grubenv.oracle).

`python -m tests.grubenv.fuzz CORPUS -max_total_time=600` where atheris is installed. CORPUS is a directory for what the
fuzzer collects; the damages and everything that was ever found are put there first.
"""

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["grubenv"]):
    from grubenv import SIGNATURE
    from tests.grubenv.blocks import block
    from tests.grubenv.found import inputs
    from tests.grubenv.oracle import CHANGES, judge

WORDS = (
    SIGNATURE, b"boot_alternative=B\n", b"boot_cycle=first_boot\n", b"boot_alternative", b"boot_cycle", b"=", b"\n",
    b"\r\n", b"\r\r\n", b"\\", b"\\\n", b"\\\r\n", b"\0", b"#", b"####\n", b"#" * 256, bytes(256), b"x" * 256,
)  # fmt: skip
"""What the fuzzer may put in at once."""


def one_input(data: bytes) -> None:
    """Judge the input as it is, and one without a signature behind it, too: alone or in a whole block.

    One change at a time, so that more inputs get their turn; which one, goes by the input's length.
    """
    changes = CHANGES[len(data) % len(CHANGES) :][:1]
    judge(data, changes)
    if not data.startswith(SIGNATURE):
        judge(SIGNATURE + data if len(data) & 8 else block(data), changes)


def plant(corpus: Path) -> None:
    """Put the seeds where the fuzzer begins; the same ones have the same names at each run."""
    corpus.mkdir(parents=True, exist_ok=True)
    for data in inputs().values():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def write_words(path: Path) -> None:
    """Write WORDS as a dictionary of libFuzzer's."""
    lines = ("".join(f"\\x{byte:02x}" for byte in word) for word in WORDS)
    path.write_text("".join(f'"{line}"\n' for line in lines))


if __name__ == "__main__":
    corpus = Path(sys.argv[1])
    plant(corpus)
    write_words(corpus.with_suffix(".words"))
    atheris.Setup([*sys.argv, f"-dict={corpus.with_suffix('.words')}"], one_input)
    atheris.Fuzz()
