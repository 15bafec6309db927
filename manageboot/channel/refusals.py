"""Why a channel, or a release of it, is refused: the branch of the tree of errors that no other room knows."""

from manageboot.errors import DataError, RefusedError


class MetadataSignatureError(DataError):
    """Metadata of the channel is not signed by as many of the keys as the root says."""

    code = "METADATA_SIGNATURE"
    usual_hint = "take it from another mirror; channel.root is what this system trusts"


class MetadataExpiredError(DataError):
    """Metadata of the channel is not to be trusted any more: nobody has renewed it."""

    code = "METADATA_EXPIRED"
    usual_hint = "look at the clock, and take it from another mirror"


class ClockAheadError(DataError):
    """The clock is so far ahead that all metadata of the channel counts as expired."""

    code = "CLOCK_AHEAD"


class PinnedDigestError(DataError):
    """The release.json does not have the SHA-256 that the caller demanded."""

    code = "PINNED_SHA256"
    usual_hint = "copy the release again, and compare the digest with that of its source"


class SeedError(DataError):
    """The booted slot does not hold the release that a delta is from, and `delta.fallback` allows no other way."""

    code = "SEED_CHANGED"
    usual_hint = 'delta.fallback = "full" takes what differs from the full pack; delta.use = false takes all of it'


class OtherSystemError(RefusedError):
    """The release is for other systems than this one."""

    code = "OTHER_SYSTEM"


class OtherHardwareError(RefusedError):
    """The release is for other hardware than this."""

    code = "OTHER_HARDWARE"


class AgentTooOldError(RefusedError):
    """The release needs a later manageboot."""

    code = "AGENT_TOO_OLD"


class NoReleaseError(RefusedError):
    """The channel has no release that this node could take."""

    code = "NO_RELEASE"
    usual_hint = "`manageboot check` says what there is"


class UpdateMemoryError(DataError):
    """The file that says which releases did not stay here can't be read, so no update may be unattended."""

    code = "UPDATE_MEMORY"
    usual_hint = "`manageboot update --retry` begins a new one, and takes releases again that did not stay here"


class NetworkError(RefusedError):
    """A release is to come over a network by other means than http or https, which this version does not use."""

    code = "NO_NETWORK"


class TufMissingError(RefusedError):
    """The library that verifies signed metadata is not installed."""

    code = "NO_TUF"
