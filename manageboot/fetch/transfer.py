"""One request, by libcurl: redirects, what the server answers, and what of it is handed on. Runs in the child."""

import select
import socket
from typing import Any

import pycurl

import manageboot
from manageboot.fetch import headers, tls, wire
from manageboot.fetch.answer import CONTENT, Answer
from manageboot.fetch.options import Options
from manageboot.fetch.origin import is_local, origin_of, why_not_follow
from manageboot.fetch.outcome import Outcome, of_status
from manageboot.fetch.pace import Limit, Pace
from manageboot.fetch.wire import TO_THE_END, End, Kind, Request

_REDIRECTS_MAX = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUFFER_MAX = wire.ANSWER_MAX
_NAME_FAILED = frozenset({pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY})
_TLS_FAILED = frozenset(
    getattr(pycurl, name)
    for name in (
        *("E_SSL_CONNECT_ERROR", "E_SSL_ENGINE_NOTFOUND", "E_SSL_ENGINE_SETFAILED", "E_SSL_CERTPROBLEM"),
        *("E_SSL_CIPHER", "E_PEER_FAILED_VERIFICATION", "E_USE_SSL_FAILED", "E_SSL_CACERT_BADFILE"),
        *("E_SSL_SHUTDOWN_FAILED", "E_SSL_CRL_BADFILE", "E_SSL_ISSUER_ERROR", "E_SSL_PINNEDPUBKEYNOTMATCH"),
        *("E_SSL_INVALIDCERTSTATUS", "E_SSL_CLIENTCERT"),
    )
    if hasattr(pycurl, name)
)


class Transfer:
    """Fetches what it is asked for, one request after the other, with one connection where the server lets it."""

    def __init__(self, setup: Options, requests: int, answers: int) -> None:
        """Be ready; nothing is sent yet.

        Args:
            setup: how to fetch, with paths as they are in the jail.
            requests: the pipe from the parent, which closes when that one is gone.
            answers: the pipe to the parent.
        """
        self._setup = setup
        self._answers = answers
        self._parent = select.poll()
        self._parent.register(requests, select.POLLHUP)
        self._curl = pycurl.Curl()
        self.limit = Limit(setup.rate)
        self._parent_gone = False
        self._local = False

    def perform(self, request: Request) -> End:
        """Fetch what is asked for, hand it on as frames BEGIN and DATA, and return how it ended.

        Raises:
            BrokenPipeError: the parent is gone.
        """
        url = request.url
        for hop in range(_REDIRECTS_MAX + 1):
            answer = Answer(self, request, Pace(self._setup.stall))
            end, location = self._ask(url, answer, hop=hop)
            if self._parent_gone:
                raise BrokenPipeError
            if location is None:
                return end
            if (cause := why_not_follow(url, location)) is not None:
                return End(Outcome.LIED, cause)
            url = location
        return End(Outcome.FAILED, f"it sends us on more than {_REDIRECTS_MAX} times")

    def send(self, kind: Kind, body: bytes) -> bool:
        """Hand a frame on, and tell whether the parent is still there."""
        try:
            wire.send(self._answers, kind, body)
        except BrokenPipeError:
            self._parent_gone = True
        return not self._parent_gone

    def is_gone(self) -> bool:
        """Tell whether the parent is gone."""
        self._parent_gone = self._parent_gone or bool(self._parent.poll(0))
        return self._parent_gone

    def _ask(self, url: str, answer: Answer, *, hop: int) -> tuple[End, str | None]:
        """Send one request, and return how it ended and where the server sends us, if it does."""
        curl = self._curl
        curl.reset()
        self._configure(curl, url, ours=origin_of(url) == origin_of(answer.request.url))
        refused: list[str] = []
        if hop and self._setup.proxy is None and not self._local:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, lambda _purpose, address: _open(address, refused))
        if not answer.request.whole:
            curl.setopt(pycurl.RANGE, _range(answer.request))
        curl.setopt(pycurl.HEADERFUNCTION, answer.take_header)
        curl.setopt(pycurl.WRITEFUNCTION, answer.take)
        curl.setopt(pycurl.NOPROGRESS, 0)
        curl.setopt(pycurl.XFERINFOFUNCTION, answer.look)
        code, text = pycurl.E_OK, ""
        try:
            curl.perform()
        except pycurl.error as error:
            code, text = error.args
        answer.flush()
        if not hop:
            self._local = is_local(curl.getinfo(pycurl.PRIMARY_IP) or "")
        if refused:
            return End(Outcome.LIED, f"it sends us to {refused[0]}, an address of this node"), None
        if code == pycurl.E_OK and answer.status in _REDIRECTS:
            # As bytes: they may be of no encoding.
            location = curl.getinfo_raw(pycurl.REDIRECT_URL)
            end = End(Outcome.FAILED, f"it answers {answer.status}, and does not say where to go")
            return end, None if location is None else location.decode("latin-1")
        return self._judged(url, answer, code, text), None

    def _configure(self, curl: pycurl.Curl, url: str, *, ours: bool) -> None:
        """Set what a request needs.

        Args:
            curl: the handle.
            url: what to ask for.
            ours: it goes to the server that the configuration names, so names, passwords and certificates may, too.
        """
        setup = self._setup
        _configure_line(curl, setup, url)
        curl.setopt(pycurl.USERAGENT, f"manageboot/{manageboot.__version__}")
        # Caches on the way may recode what they pass on, if nobody forbids it.
        curl.setopt(pycurl.HTTPHEADER, ["Accept-Encoding: identity", "Cache-Control: no-transform"])
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        # What is read at once is waited for at once, and nobody is heard meanwhile.
        size = _BUFFER_MAX if setup.rate is None else max(1024, min(_BUFFER_MAX, setup.rate // 4))
        curl.setopt(pycurl.BUFFERSIZE, size)
        if ours and setup.netrc is not None:
            curl.setopt(pycurl.NETRC, pycurl.NETRC_REQUIRED)
            curl.setopt(pycurl.NETRC_FILE, setup.netrc)
        if ours and setup.certificate is not None:
            curl.setopt(pycurl.SSLCERT, setup.certificate)
            curl.setopt(pycurl.SSLKEY, setup.key or setup.certificate)

    def _judged(self, url: str, answer: Answer, code: int, text: str) -> End:
        if answer.verdict is not None:
            return answer.verdict
        if answer.is_done():
            return End(Outcome.DONE, skipped=answer.skipped)
        if answer.is_stalled:
            return End(Outcome.STALLED, answer.pace.text(), skipped=answer.skipped)
        if code in {pycurl.E_OK, pycurl.E_WRITE_ERROR} and answer.status and answer.status not in CONTENT:
            outcome = of_status(answer.status)
            wait_s = headers.retry_after_s(answer.headers) if outcome == Outcome.BUSY else 0
            return End(outcome, f"it answers {answer.status}", wait_s)
        if code == pycurl.E_OK:
            return answer.ended()._replace(skipped=answer.skipped)
        return self._failed(url, code, text)._replace(skipped=answer.skipped)

    def _failed(self, url: str, code: int, text: str) -> End:
        """Tell what an error of curl means."""
        curl = self._curl
        text = text or f"curl error {code}"
        through = curl.getinfo(pycurl.HTTP_CONNECTCODE)
        if through >= 300:
            outcome = of_status(through)
            return End(outcome if outcome == Outcome.REFUSED else Outcome.NO_ROUTE, f"the proxy answers {through}")
        if code == pycurl.E_OPERATION_TIMEDOUT:
            if not curl.getinfo(pycurl.NAMELOOKUP_TIME):
                return End(Outcome.NO_NAME, text)
            return End(Outcome.STALLED if curl.getinfo(pycurl.CONNECT_TIME) else Outcome.NO_ROUTE, text)
        if code in _NAME_FAILED:
            return End(Outcome.NO_NAME, text)
        if code == pycurl.E_COULDNT_CONNECT:
            return End(Outcome.NO_ROUTE, text)
        if code in _TLS_FAILED:
            contradiction = tls.contradiction(lambda probe: _configure_line(probe, self._setup, url))
            return End(Outcome.TLS, text) if contradiction is None else End(Outcome.CLOCK, contradiction)
        if code == pycurl.E_LOGIN_DENIED:
            return End(Outcome.REFUSED, text)
        return End(Outcome.BROKEN, text)


def _configure_line(curl: pycurl.Curl, setup: Options, url: str) -> None:
    """Set how a server is reached, and whom to believe that it is the right one."""
    curl.setopt(pycurl.URL, url)
    curl.setopt(pycurl.NOSIGNAL, 1)
    curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
    curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, int(setup.stall * 1000)))
    curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
    # An empty one: not that of the environment either.
    curl.setopt(pycurl.PROXY, setup.proxy or "")
    if setup.ca is not None:
        curl.setopt(pycurl.CAINFO, setup.ca)
        curl.setopt(pycurl.PROXY_CAINFO, setup.ca)


def _range(request: Request) -> str:
    """Write which bytes are asked for: one range, as several of them in one answer break on some servers."""
    return f"{request.offset}-{'' if request.length == TO_THE_END else request.offset + request.length - 1}"


def _open(address: Any, refused: list[str]) -> Any:
    """Open a socket, unless a server that is far away sends us to one that only this node can reach."""
    if is_local(address.addr[0]):
        refused.append(address.addr[0])
        return pycurl.SOCKET_BAD
    return socket.socket(address.family, address.socktype, address.protocol)
