"""What can go wrong while something is fetched: the part of the tree of errors that the network has."""

from manageboot.errors import ManagebootError


class FetchError(ManagebootError):
    """Something can't be fetched from the network; where nothing else is said, it may work later."""

    exit_code = 75


class FetchBrokenError(FetchError):
    """Connections ended too early, or the servers answered with errors, until the time was over."""

    code = "FETCH_BROKEN"
    usual_hint = "try it again later; docs/network.md says what was tried"


class FetchNoRouteError(FetchError):
    """No connection to a mirror, or to the proxy, could be made."""

    code = "FETCH_NO_ROUTE"
    usual_hint = "see whether the network is up, and whether a proxy is needed (channel.proxy)"


class FetchNoNameError(FetchError):
    """The name of a mirror, or of the proxy, could not be resolved."""

    code = "FETCH_NO_NAME"
    usual_hint = "see whether the network is up, and /etc/resolv.conf"


class FetchTlsError(FetchError):
    """TLS with a mirror failed, so it may be somebody else."""

    code = "FETCH_TLS"
    usual_hint = "see whether channel.ca names whoever signed the certificate"


class FetchClockError(FetchTlsError):
    """TLS with a mirror failed, and the clock of the node is outside the time in which its certificate is valid."""

    code = "FETCH_CLOCK"
    usual_hint = "set the clock of the node, or renew the certificate of the mirror"


class FetchStalledError(FetchError):
    """The mirrors sent nothing, or next to nothing."""

    code = "FETCH_STALLED"
    usual_hint = "try it again later, or from another server"


class FetchDeadlineError(FetchError):
    """The mirrors were busy, or too slow, until the time was over."""

    code = "FETCH_DEADLINE"
    usual_hint = "try it again later, or set channel.deadline to more seconds"


class FetchRefusedError(FetchError):
    """The mirrors, or the proxy, want to know who asks, or refuse it (401, 403, 407)."""

    exit_code = 77
    code = "FETCH_REFUSED"
    usual_hint = "see channel.netrc and channel.certificate"


class FetchGoneError(FetchError):
    """The mirrors do not have it (404, 410)."""

    exit_code = 66
    code = "FETCH_GONE"
    usual_hint = "see whether the file was withdrawn, or is not there yet"


class FetchLiedError(FetchError):
    """What the mirrors sent is not what was asked for."""

    exit_code = 65
    code = "FETCH_LIED"
    usual_hint = "see whether a captive portal, or a proxy, answers instead of the mirrors"


class FetcherError(ManagebootError):
    """The process that fetches can't be started, or can't be locked in."""

    exit_code = 74
    code = "NO_FETCHER"
    usual_hint = "docs/network.md says what it needs"
