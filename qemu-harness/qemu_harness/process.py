"""Running the programs of the host that build and drive a node."""

import logging
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

# The Debian package of every program that the harness runs.
PACKAGES = {
    "apt-config": "apt",
    "apt-get": "apt",
    "chroot": "coreutils",
    "cp": "coreutils",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "dpkg-buildpackage": "dpkg-dev",
    "grub-editenv": "grub-common",
    "grub-fstest": "grub-common",
    "grub-mkimage": "grub-common",
    "losetup": "mount",
    "lvm": "lvm2",
    "mcopy": "mtools",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "mmdebstrap": "mmdebstrap",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "sgdisk": "gdisk",
    "tar": "tar",
    "unshare": "util-linux",
    "zstd": "zstd",
}
# A namespace begins with a copy of each mount. A file system of somebody's test would live on in it, and be found
# again, with all that was wrong with it, by whoever mounts the same device later.
_LET_GO = """\
awk '$1 ~ "^/dev/loop" && $2 != "/" { print $2 }' /proc/self/mounts | while read -r point; do
    umount --lazy "$(printf %b "$point")"
done
exec "$@"
"""
OWN_MOUNTS = ("unshare", "--mount", "sh", "-c", _LET_GO, "sh")
"""Before a program whose mounts go with it, and that sees all processes of the host."""
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", *OWN_MOUNTS[2:])
"""Before a program that mounts things and starts others: whatever ends it, nothing of them is left on the host."""

# What unshare says where / is a plain directory of a chroot; source: its unshare.c, and mount(2).
_NO_MOUNT_POINT = "cannot change root filesystem propagation"

# Where Debian keeps the programs of administrators, which the PATH of a user lacks.
ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class HarnessError(Exception):
    """Something in the harness, or on the node, is not as it has to be."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment in which programs run: the same messages and times on every host."""
    return {
        **os.environ,
        "PATH": f"{os.environ.get('PATH', '/usr/bin:/bin')}:{ADMIN_PATH}",
        "LC_ALL": "C.UTF-8",
        **(extra or {}),
    }


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> bytes:
    """Run a program to its end and give its standard output.

    Raises:
        HarnessError: the program is not installed, or failed; its last words are part of the message.
    """
    words = [str(word) for word in argv]
    line = shlex.join(words)
    log.debug("run: %s", line)
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, env=environment(env), cwd=cwd, check=False)
    except FileNotFoundError as error:
        package = PACKAGES.get(words[0], words[0])
        raise HarnessError(f"cannot run {words[0]}: it is not installed (Debian package {package})") from error
    if done.returncode:
        last_words = (done.stderr or done.stdout).decode(errors="replace").strip()[-2000:]
        if _NO_MOUNT_POINT in last_words:
            cause = "/ is no mount point; before chroot, mount its directory on itself (mount --bind)"
            raise HarnessError(f"cannot run {words[0]}: {cause}")
        raise HarnessError(f"cannot run {line}: exit status {done.returncode}: {last_words}")
    return done.stdout
