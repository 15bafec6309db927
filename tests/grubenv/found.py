"""Every input that a fuzzer, a random test or a person ever found something with, by what it showed."""

from tests.grubenv.blocks import block
from tests.grubenv.damages import EXAMPLES

_FAR = b"x=" + b"y" * 480 + b"\n"

FOUND: dict[str, bytes] = {
    "a backslash hides the newline that a repair would add": block(b"b=\\"),
    "and so behind other lines": block(b"boot_alternative=B\nboot_cycle=stable\\"),
    "three backslashes": block(b"a=1\nb=\\\\\\"),
    "a backslash before a NUL": block(b"a=1\\\0\nb=2\n"),
    "GRUB boots what it reads, whatever was lost elsewhere": block(b"x=1\nboot_alternative=B\n")[:900]
    + b"$rt".ljust(124),
    "an unfinished line is no later word": block(b"boot_alternative=B\nboot_cycle=stable\nboot_alternative=A"),
    "nor is one that GRUB takes for the end of a name": block(b"boot_alternative=B\nboot\nboot_alternative=A\n"),
    "a name that GRUB cuts at a NUL": block(b"boot_alternative\0er=B\nboot_cycle=stable\n"),
    "two names that GRUB cuts to one": block(b"boot_alternative\0er=B\nboot_alternative\0e=A\n"),
    "a name of GRUB's that is empty": block(b"\0boot_alternative=B\nboot_cycle=stable\n"),
    "CR CR LF without a signature": b"boot_alternative=B\r\r\nboot_cycle=stable\r\r\n",
    "CR CR LF throughout": block(b"boot_alternative=B\nboot_cycle=stable\n").replace(b"\n", b"\r\r\n"),
    "CR CR LF behind a signature": block(b"boot_alternative=B\r\r\nboot_cycle=stable\r\r\n"),
    "CR LF in the signature, CR CR LF behind": block(b"").replace(b"\n", b"\r\na=1\r\r\nb=2\\\r\r\n"),
    "a CR before the padding": block(b"boot_alternative=B\nboot_cycle=stable\r"),
    "a CR that a backslash hides": block(b"a=1\\\r\nb=2\\\\\r\nc=3\\\\\\\r\r\n"),
    "a value with a newline, without a signature": b"note=two\\\nboot_alternative=A\nboot_alternative=B\\\n\n".ljust(
        600
    ),
    "a comment of padding goes on behind 1024 bytes": block(b"boot\n") + b"###text\n###\0###",
    "damaged, and beyond the first sector": block(_FAR + b"boot_alternative=B\nboot_cycle=stable\n", 1020) + b"\0abc",
    "a NUL in a comment, and a damage": block(b"# a\0b\nboot_alternative=B\nnothing\n"),
    "a block within a block": block(block(b"boot_cycle=stable\n", 500) + b"\nboot_alternative=B\n"),
    "a comment that takes all the room": block(b"boot_alternative=B\n", 1023) + b"\n" + b"boot_cycle=first",
    "lines without a signature that take all the room": b"boot_cycle=stable\n" + b"a=1\n" * 200 + b"b=2\nc=3\n" * 20,
    "a foreign name with two values, and lines beyond the first sector": block(
        b"boot_cycle=stable\na=1\na=2\n" + b"b=2\nc=3\n" * 58 + b"a=3\n", 538
    ),
    "UTF-16": block(b"boot_alternative=B\n").decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + block(b"boot_alternative=B\nboot_cycle=stable\n"),
}


def inputs() -> dict[str, bytes]:
    """Return all that was found, and an example of each damage."""
    return {name: one.data for name, one in EXAMPLES.items()} | FOUND
