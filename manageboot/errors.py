"""Everything that can go wrong, one class for each thing that a caller may want to tell apart.

Each class has an exit code, after sysexits.h, and a code word. Both are part of the interface: a code word, once
released, keeps its meaning. The message is one sentence, `cannot VERB OBJECT: CAUSE`; the hint, where there is one,
says what to do about it.
"""

import errno
import os
from typing import ClassVar


class ManagebootError(Exception):
    """This is a bug in manageboot.

    The root of the tree; caught by the command line, which prints it and exits with its code.
    """

    exit_code: ClassVar[int] = 70
    code: ClassVar[str] = "INTERNAL"
    usual_hint: ClassVar[str | None] = None
    """What helps in most cases, for those that have no hint of their own."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Make the error from a sentence `cannot VERB OBJECT: CAUSE` and a hint for the person who reads it."""
        super().__init__(message)
        self.hint = hint or self.usual_hint
        self.found: dict[str, object] | None = None
        """What a query found out all the same; `--json` prints it beside the error."""


class UsageError(ManagebootError):
    """The command line makes no sense."""

    exit_code = 2
    code = "USAGE"


class DataError(ManagebootError):
    """What we were given to read is bad."""

    exit_code = 65


class ImageFormatError(DataError):
    """The update image is not an archive that we know, or breaks the rules of its format."""

    code = "IMAGE_FORMAT"


class ImageTruncatedError(DataError):
    """The update image ends too early."""

    code = "IMAGE_TRUNCATED"
    usual_hint = "load or copy it again, and compare its size and SHA-256 with those of its source"


class ImageMemberError(DataError):
    """The archive is well formed, but a member is missing, is there twice, or does not belong there."""

    code = "IMAGE_MEMBER"
    usual_hint = "docs/update-image.md says what an update image has to hold"


class ImageContentError(DataError):
    """No slot can hold such an image: it is compressed, an archive, a disk, text, zeros, or the same as the other."""

    code = "IMAGE_CONTENT"


class ImageTooLargeError(DataError):
    """An image is larger than the device that it is for."""

    code = "IMAGE_TOO_LARGE"
    usual_hint = "make the image smaller, or the device of the slot larger"


class ImageDigestError(DataError):
    """The input does not have the SHA-256 that the caller demanded."""

    code = "IMAGE_SHA256"
    usual_hint = "load it again; if it differs again, ask whoever published the digest"


class ReleaseFormatError(DataError):
    """A file of the release breaks the rules of its format."""

    code = "RELEASE_FORMAT"
    usual_hint = "take it from another mirror; docs/release-format.md has the rules"


class ReleaseTooNewError(DataError):
    """A file of the release is of a format that this version does not know."""

    code = "RELEASE_TOO_NEW"
    usual_hint = "install a newer manageboot first"


class ReleaseDigestError(DataError):
    """A piece of the release does not have the size or the SHA-256 that it was published with."""

    code = "RELEASE_SHA256"
    usual_hint = "take it from another mirror"


class MetadataError(DataError):
    """The metadata of published releases is not whole, not signed as the root says, or expired."""

    code = "METADATA"
    usual_hint = "look at the clock, and take it from another mirror"


class FloorDamagedError(DataError):
    """The floor can't be read, so nobody knows which releases are too old."""

    code = "FLOOR_DAMAGED"


class BlockDamagedError(DataError):
    """The environment block can't be read as one."""

    code = "BLOCK_DAMAGED"


class UnsoundError(DataError):
    """The boot chain of this node has a fault; the report says which."""

    code = "UNSOUND"
    usual_hint = "do what the report says of each finding, then run `manageboot doctor` again"


class BootloaderError(DataError):
    """The grub.cfg of this node is not the shipped one, or GRUB does not take it."""

    code = "GRUB_CFG"


class GrubModulesError(DataError):
    """Modules that the shipped grub.cfg needs are not where GRUB looks for them."""

    code = "GRUB_MODULES"


class RecordDamagedError(DataError):
    """The record of the slots can't be read as one."""

    code = "RECORD_DAMAGED"


class PartitionTableError(DataError):
    """The disk has no partition table that can be read, or one that can't be right."""

    code = "PARTITION_TABLE"
    usual_hint = "name the whole disk, not a partition, and see what `sgdisk --verify DISK` says of it"


class InputError(ManagebootError):
    """An input can't be opened."""

    exit_code = 66
    code = "NO_INPUT"
    usual_hint = "see whether what is named is there, and can be read"


class BlockMissingError(InputError):
    """There is no environment block where one has to be."""

    code = "NO_BLOCK"


class DeviceMissingError(InputError):
    """A configured device is missing, or is not a block device."""

    code = "NO_DEVICE"
    usual_hint = "compare the slots of the configuration with `lsblk -o NAME,PARTLABEL,PARTUUID`"


class DevicesUnknownError(InputError):
    """Devices can't be looked for, because /sys or udev is missing."""

    code = "DEVICES_UNKNOWN"


class RefusedError(ManagebootError):
    """The node is in a state in which the verb would do harm, or make no sense."""

    exit_code = 69


class CommitPendingError(RefusedError):
    """A committed slot waits for its first boot."""

    code = "COMMIT_PENDING"


class TrialError(RefusedError):
    """The booted slot is on trial; the other one is the way back."""

    code = "ON_TRIAL"


class TrustedSlotError(RefusedError):
    """The slot that was named with `--slot` is the trusted one, and nobody insisted."""

    code = "TRUSTED_SLOT"


class NotOnTrialError(RefusedError):
    """There is no trial that could be aborted."""

    code = "NOT_ON_TRIAL"
    usual_hint = "`manageboot status` says which slot is booted, and how it stands"


class ConflictError(RefusedError):
    """The kernel command line and the environment block contradict each other."""

    code = "CONFLICT"


class BootedSlotUnknownError(RefusedError):
    """Nothing tells which slot is booted."""

    code = "NO_BOOTED_SLOT"


class NothingInstalledError(RefusedError):
    """The record does not say that the passive slot holds a complete image, or the slot was changed since."""

    code = "NOTHING_INSTALLED"


class NoWayBackError(RefusedError):
    """The record does not say that the other slot holds a confirmed system."""

    code = "NO_WAY_BACK"


class SignaturesMissingError(RefusedError):
    """Not enough of the keys that have to sign were given."""

    code = "SIGNATURES_MISSING"
    usual_hint = "docs/releases.md says whose keys are needed"


class BelowFloorError(RefusedError):
    """The release is older than one that was confirmed on this node."""

    code = "BELOW_FLOOR"
    usual_hint = "`manageboot check` says which releases there are"


class UnsignedError(RefusedError):
    """The update image is neither signed nor pinned, and the configuration asks for that."""

    code = "UNSIGNED"


class DeviceBusyError(RefusedError):
    """A device of the passive slot is in use, by a mount or in another way, or belongs to the booted slot."""

    code = "DEVICE_BUSY"


class DeviceAmbiguousError(RefusedError):
    """Several devices bear the identifier, and none of them is on the booted disk."""

    code = "DEVICE_AMBIGUOUS"


class DevicesScatteredError(RefusedError):
    """The identifiers of one slot lead to several disks, or to several volume groups."""

    code = "DEVICES_SCATTERED"


class CreateError(ManagebootError):
    """A file can't be made or replaced."""

    exit_code = 73
    code = "CANNOT_CREATE"
    usual_hint = "make room, mount the file system for writing, or move away what is in its place"


class BlockFullError(CreateError):
    """The environment block has no room for what has to be written."""

    code = "NO_ROOM"


class BlockNotAtomicError(CreateError):
    """The environment block can't be changed so that a power cut leaves the old state or the new one."""

    code = "NOT_ATOMIC"


class DeviceError(ManagebootError):
    """Reading or writing failed; after a failed flush the device can't be trusted."""

    exit_code = 74
    code = "IO_ERROR"


class ReadBackError(DeviceError):
    """The device does not hold what was written to it."""

    code = "READ_BACK"
    usual_hint = "look at the health of the disk; if it happens again, replace it"


class RebootError(DeviceError):
    """The passive slot is armed, but the node could not be told to reboot."""

    code = "ARMED_NOT_REBOOTED"


class ExhaustedError(ManagebootError):
    """The system has no memory, no process, no thread or no file descriptor to spare."""

    exit_code = 74
    code = "NO_RESOURCES"


class LockedError(ManagebootError):
    """Another run is at work."""

    exit_code = 75
    code = "LOCKED"


class NotPermittedError(ManagebootError):
    """The caller lacks the right; usually: it is not root."""

    exit_code = 77
    code = "NOT_PERMITTED"


class ConfigError(ManagebootError):
    """The configuration is bad."""

    exit_code = 78
    code = "CONFIG"
    usual_hint = "docs/configuration.md lists every setting, and so does manageboot.toml(5)"


_EXHAUSTED = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE})
_EXHAUSTED_HINT = "try again when the system has more to spare, and see `ulimit -a`"
_HINTS = {
    errno.EIO: "see what the kernel said, with `dmesg`, and look at the health of the disk",
    errno.ENOSPC: "make room there",
}
_OF_THE_SYSTEM = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EAGAIN})


def of_the_system(error: Exception) -> ManagebootError | None:
    """Turn what nobody expected into an error of ours, where it is the system's fault and no bug; or else return None.

    Args:
        error: what was raised, wherever that was.
    """
    words = str(error)
    if isinstance(error, OSError) and error.errno in _EXHAUSTED | _OF_THE_SYSTEM:
        kind = ExhaustedError if error.errno == errno.EAGAIN else DeviceError
        return from_os_error(error, "go on", kind)
    if isinstance(error, MemoryError):
        words = os.strerror(errno.ENOMEM)
    elif not (isinstance(error, RuntimeError) and "start new thread" in words) and not (
        # A module that can't be loaded tells it in words only.
        isinstance(error, ImportError) and any(os.strerror(number) in words for number in _EXHAUSTED)
    ):
        return None
    return ExhaustedError(f"cannot go on: {words}", hint=_EXHAUSTED_HINT)


def is_exhausted(error: OSError) -> bool:
    """Tell whether a call failed because the system had nothing to spare, which says nothing of what was asked."""
    return error.errno in _EXHAUSTED


def from_os_error(
    error: OSError, doing: str, otherwise: type[ManagebootError] = DeviceError, *, hint: str | None = None
) -> ManagebootError:
    """Turn an OSError into the error of ours that fits.

    Args:
        error: what the system call raised.
        doing: the first half of the sentence, such as "open /dev/vda8".
        otherwise: the class for causes that say nothing special.
        hint: what to do about it.
    """
    kind = otherwise
    if is_exhausted(error):
        kind = ExhaustedError
        hint = hint or _EXHAUSTED_HINT
    elif error.errno in {errno.EACCES, errno.EPERM}:
        kind = NotPermittedError
        hint = hint or ("run it as root" if os.geteuid() else None)
    elif error.errno == errno.EIO or (error.errno == errno.ENOSPC and not issubclass(otherwise, CreateError)):
        kind = DeviceError
    return kind(f"cannot {doing}: {error.strerror or error}", hint=hint or _HINTS.get(error.errno or 0))
