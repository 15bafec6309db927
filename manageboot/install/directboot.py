"""Whether the boot of a slot has what a host looks for that boots a guest directly, without the guest's GRUB.

Such a host mounts it as ext4. Where it can't, or finds no kernel or no initrd, it tries again and again, and the guest
never falls back. So whoever installs is told. The slot is installed already, and this is no reason to refuse it.
"""

from collections.abc import Callable

from grubenv.disk import ext
from manageboot.disk.blockdev import BlockDevice
from manageboot.disk.buffer import aligned_buffer

KERNEL = ("vmlinuz", "initrd.img")
ARGUMENTS = "boot_args"

_MAGIC_OFFSET = ext.SUPER_OFFSET + 56
_MAGIC = b"\x53\xef"
_ROOT_INODE = 2
_LIMIT_BYTES = 8 << 20
"""What is read at most; a directory that takes more is not one of a boot partition."""


class _TooMuchError(Exception):
    """There is more to read than is worth it."""


def lacks(device: BlockDevice) -> str | None:
    """Say what is missing, as the end of a sentence; None: nothing, or that can't be told.

    Args:
        device: that of boot, as it is installed.

    Raises:
        DeviceError: it can't be read.
    """
    read = _reader(device)
    try:
        if read(_MAGIC_OFFSET, len(_MAGIC)) != _MAGIC:
            return "is no ext4 file system: a host that boots this guest directly would try to mount it for ever"
        form = ext.geometry(read)
        directory = ext.read_inode(read, form, _ROOT_INODE)
    except (ext.UnknownLayoutError, _TooMuchError):
        return None
    lost = [name for name in (*KERNEL, ARGUMENTS) if not ext.find_entry(directory, name.encode(), form.block_size)]
    if kernel := [name for name in lost if name in KERNEL]:
        return f"has no {' and no '.join(kernel)}: a host that boots this guest directly would try it for ever"
    return f"has no {ARGUMENTS}: no host can boot this guest directly, only GRUB can" if lost else None


def _reader(device: BlockDevice) -> Callable[[int, int], bytes]:
    """Make a function that reads any bytes of the device, as if it did so in whole blocks."""
    left = _LIMIT_BYTES

    def read(offset: int, length: int) -> bytes:
        nonlocal left
        start = offset // device.block_size * device.block_size
        size = device.round_up(offset + length - start)
        left -= size
        if left < 0:
            raise _TooMuchError
        if offset + length > device.size:
            return b""
        buffer = memoryview(aligned_buffer(size))
        device.read_into(start, buffer)
        return bytes(buffer[offset - start : offset - start + length])

    return read
