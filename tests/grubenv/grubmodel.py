"""GRUB's load_env, byte for byte, written from its own rules and sharing no line with the program.

Source: GRUB 2.06 grub-core/lib/envblk.c (grub_envblk_open, grub_envblk_iterate, find_next_line).
"""

from functools import lru_cache

SIGNATURE = b"# GRUB Environment Block\n"


@lru_cache(maxsize=64)
def load_env(data: bytes) -> dict[bytes, bytes] | None:
    """Return the variables that GRUB has after it loaded the block, or None where it refuses the whole of it."""
    if len(data) <= len(SIGNATURE) or data[: len(SIGNATURE)] != SIGNATURE:
        return None
    found = {}
    at = len(SIGNATURE)
    while at < len(data):
        if data[at : at + 1] == b"#":
            at = _behind_line(data, at)
            continue
        name = bytearray()
        while at < len(data) and data[at : at + 1] != b"=":
            name += data[at : at + 1]
            at += 1
        start = at + 1
        at = _behind_line(data, start)
        if at > len(data):
            break
        found[_as_c_string(bytes(name))] = _as_c_string(_plain(data[start : at - 1]))
    return found


def _behind_line(data: bytes, at: int) -> int:
    """Return the place behind the newline that ends the line, or one beyond the data if there is none."""
    while at < len(data):
        if data[at : at + 1] == b"\n":
            return at + 1
        at += 2 if data[at : at + 1] == b"\\" else 1
    return len(data) + 1


def _plain(value: bytes) -> bytes:
    plain = bytearray()
    hidden = False
    for byte in value:
        if byte == 0x5C and not hidden:
            hidden = True
        else:
            plain.append(byte)
            hidden = False
    return bytes(plain)


def _as_c_string(data: bytes) -> bytes:
    return data.split(b"\0")[0]
