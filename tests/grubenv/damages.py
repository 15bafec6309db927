"""One example of each damage that bytes can have, with what a repair has to make of it."""

from typing import NamedTuple

from tests.grubenv.blocks import FALLBACK, STATE, WARNING, block, lines

BODY = lines(**STATE)
LONG = b"foreign=" + b"x" * 460 + b"\n"
CROWD = b"foreign=" + b"x" * 300 + b"\nother=" + b"y" * 150 + b"\n"


class Example(NamedTuple):
    word: str
    data: bytes
    after: dict[str, str]
    """What the repaired block has to tell, with FALLBACK given."""
    grub_reads: bool
    """Whether GRUB reads the state out of the damaged bytes."""


EXAMPLES = {
    "a file of 0 bytes": Example("empty", b"", FALLBACK, False),
    "NUL bytes only": Example("nul-filled", bytes(1024), FALLBACK, False),
    "25 bytes": Example("short", block(b"", 25), {}, False),
    "cut in a line": Example("short", block(BODY)[:60], {"boot_alternative": "B"}, False),
    "less than a sector": Example("short", block(BODY, 300), STATE, True),
    "a newline at the end": Example("long", block(BODY) + b"\n", STATE, True),
    "twice the block": Example("long", block(BODY) * 2, STATE, True),
    "a megabyte of NUL behind it": Example("long", block(BODY) + bytes(4096), STATE, True),
    "first sector lost": Example("no-signature", bytes(512) + block(LONG + BODY + b"#" * 80)[512:], FALLBACK, False),
    "signature damaged": Example("no-signature", b"# GRUB Envir0nment Block\n" + block(BODY)[25:], STATE, False),
    "only text": Example("no-signature", BODY, STATE, False),
    "an HTML page": Example("no-signature", b"<html><a href='x=y'>\n</a>\n".ljust(1024, b" "), FALLBACK, False),
    "CR LF throughout": Example("cr-lf", block(BODY).replace(b"\n", b"\r\n"), STATE, False),
    "CR LF in one line": Example("cr-lf", block(BODY.replace(b"B\n", b"B\r\n")), STATE, False),
    "newline lost": Example("no-newline", block(BODY[:-1]), STATE, False),
    "cut at a sector": Example("no-newline", block(LONG + BODY)[:512], {**FALLBACK, "foreign": "x" * 460}, False),
    "stray bytes": Example("stray-bytes", block(BODY)[:900] + b"x" + b"#" * 123, STATE, True),
    "second half NUL": Example("stray-bytes", block(BODY)[:512] + bytes(512), STATE, True),
    "a blank line": Example("malformed-line", block(b"\n" + BODY), STATE, False),
    "a blank line in between": Example("malformed-line", block(BODY.replace(b"B\n", b"B\n\n")), STATE, False),
    "no equals sign": Example("malformed-line", block(BODY + b"boot\n"), STATE, True),
    "no name": Example("bad-name", block(b"=1\n" + BODY), STATE, True),
    "NUL in a value": Example("nul-in-value", block(BODY.replace(b"B\n", b"B\0\0\n")), STATE, True),
    "duplicate names": Example("duplicate-name", block(b"boot_cycle=stable\n" + BODY), STATE, True),
    "beyond the first sector": Example(
        "beyond-first-sector", block(CROWD + WARNING + BODY), {**STATE, "foreign": "x" * 300, "other": "y" * 150}, True
    ),
}
