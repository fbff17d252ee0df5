"""One photo over HTTP: asked for, checked while it arrives, and given back whole or with a reason.

A failure says whether it may pass. What may pass: 408, 425, 429 and 5xx, timeouts, refused and broken connections,
names that do not resolve, and bodies that end early. What stays: any other answer, private addresses, bad certificates,
too many bytes, and whatever is no photo.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import parsedate_to_datetime

import aiohttp
from yarl import URL

from base_models.download.addresses import PublicResolver, RefusedAddressError, check_url
from base_models.download.hosts import HostGivenUpError, Hosts
from base_models.download.options import DownloadOptions
from base_models.download.whole_photos import is_whole_photo
from base_models.photos.decoding import photo_format

MAX_REDIRECTS = 4  # to https, to a host of files, and two more: a choice, not tuned
_PIECE = 2**16  # bytes; only speed and memory depend on it
_REDIRECTS = (301, 302, 303, 307, 308)  # RFC 9110, section 15.4: those that name another place
_MAY_PASS = (408, 425, 429)  # timeout, too early, too many requests; all of 5xx may pass as well
_ASKS_FOR_REST = (429, 503)  # what RFC 6585 and RFC 9110 let carry Retry-After, besides redirects
_NO_AI = frozenset({"noai", "noimageai"})
_AGENT = "labelstack"


class FetchError(Exception):
    """Say why a photo was not fetched.

    Parameters
    ----------
    reason : str
        For the ledger.
    may_pass : bool
        Whether another attempt may succeed.
    wait : float, optional
        Seconds that the host asked to wait.
    asked : bool, default=True
        Whether the host was asked at all; it is not where it was given up.
    """

    def __init__(self, reason: str, *, may_pass: bool, wait: float | None = None, asked: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_pass = may_pass
        self.wait = wait
        self.asked = asked


def open_session(options: DownloadOptions) -> aiohttp.ClientSession:
    """Open the client of a download: no cookies, no proxy, no private addresses.

    Parameters
    ----------
    options : DownloadOptions
        Limits and manners.

    Returns
    -------
    aiohttp.ClientSession
        To be closed by the caller, inside the event loop.
    """
    from importlib.metadata import version

    # addresses are resolved again every five minutes; only speed and load on the resolver depend on it
    connector = aiohttp.TCPConnector(
        limit=options.connections, resolver=PublicResolver(options.allow_private), ttl_dns_cache=300
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=options.timeout),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"{_AGENT}/{version('labelstack')}", "Accept": "image/*"},
        trust_env=False,
    )


async def fetch_photo(session: aiohttp.ClientSession, hosts: Hosts, text: str, options: DownloadOptions) -> bytes:
    """Fetch one photo, once.

    Parameters
    ----------
    session : aiohttp.ClientSession
        From :func:`open_session`.
    hosts : Hosts
        Hands out connections.
    text : str
        The url.
    options : DownloadOptions
        Limits and manners.

    Returns
    -------
    bytes
        A whole photo in one of the formats that :func:`base_models.photos.decoding.decode_photo` reads.

    Raises
    ------
    FetchError
        With the reason, and whether it may pass.
    """
    host = ""
    try:
        url = check_url(text, allow_private=options.allow_private)
        for _ in range(MAX_REDIRECTS + 1):
            host = url.host or ""
            async with hosts.slot(host):
                answer = await _ask(session, hosts, url, options)
            if isinstance(answer, bytes):
                return answer
            url = check_url(str(answer), allow_private=options.allow_private)
    except HostGivenUpError as error:
        raise FetchError(str(error), may_pass=True, asked=False) from error
    except FetchError as error:
        if error.wait is not None:
            hosts.rest(host, error.wait)
        raise
    except (OSError, aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        raise _as_fetch_error(error, options) from error
    raise FetchError(f"more than {MAX_REDIRECTS} redirects", may_pass=False)


async def _ask(session: aiohttp.ClientSession, hosts: Hosts, url: URL, options: DownloadOptions) -> bytes | URL:
    """Send one request; return the photo, or where it has moved to. Note whether there was an answer."""
    request = session.get(url, allow_redirects=False, headers={"Accept-Encoding": "identity"})
    try:
        response = await request
    except (OSError, aiohttp.ClientError, TimeoutError):
        hosts.unanswered(url.host or "")
        raise
    hosts.answered(url.host or "")
    async with response:
        return await _take(response, url, options)


async def _take(response: aiohttp.ClientResponse, url: URL, options: DownloadOptions) -> bytes | URL:
    """Read one answer, or say what is wrong with it."""
    if response.status in _REDIRECTS:
        target = response.headers.get("Location")
        if not target:
            raise FetchError(f"HTTP {response.status} without a target", may_pass=False)
        return url.join(URL(target))
    if response.status != 200:
        wait = _asked_wait(response.headers.get("Retry-After")) if response.status in _ASKS_FOR_REST else None
        may_pass = response.status in _MAY_PASS or response.status >= 500
        asks = f" (asks to wait {wait:.0f} s)" if wait is not None and wait > options.longest_wait else ""
        raise FetchError(f"HTTP {response.status}{asks}", may_pass=may_pass, wait=wait)
    if options.heed_noai and _forbids_ai(response.headers.getall("X-Robots-Tag", [])):
        raise FetchError("the host forbids its use for AI (X-Robots-Tag)", may_pass=False)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise FetchError(f"compressed as {encoding[:40]!r} unasked", may_pass=False)
    data = await _read_body(response, options.max_photo_bytes)
    if not data:
        raise FetchError("empty answer", may_pass=False)
    if not is_whole_photo(data):
        # a body without announced length ends where the connection ended: it may have broken
        announced = response.content_length is not None or "chunked" in response.headers.get("Transfer-Encoding", "")
        raise FetchError("the photo is cut before its end", may_pass=not announced)
    return data


def _forbids_ai(tags: list[str]) -> bool:
    """Tell whether X-Robots-Tag says ``noai`` to everybody or to us (``labelstack: noai``)."""
    for tag in tags:
        first, *rest = [word.strip().lower() for word in tag.split(",")]
        agent, _, directive = first.rpartition(":")
        if agent.strip() in ("", _AGENT) and _NO_AI & {directive.strip(), *rest}:
            return True
    return False


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read a body chunk by chunk; stop as soon as it is too large or no photo."""
    if (response.content_length or 0) > limit:
        raise FetchError(f"more bytes than the limit of {limit:,}", may_pass=False)
    body = bytearray()
    looked = False
    async for piece in response.content.iter_chunked(_PIECE):
        body += piece
        if len(body) > limit:
            raise FetchError(f"more bytes than the limit of {limit:,}", may_pass=False)
        if not looked and len(body) >= 12:  # as much as the longest signature, WebP's, needs
            looked = True
            _check_format(bytes(body[:12]), response)
    if body and not looked:
        _check_format(bytes(body), response)
    return bytes(body)


def _check_format(start: bytes, response: aiohttp.ClientResponse) -> None:
    """Refuse what does not start as a photo."""
    if photo_format(start) is None:
        content_type = response.headers.get("Content-Type", "no type")[:60]
        raise FetchError(f"not a photo (sent as {content_type!r}, starts with {start[:8]!r})", may_pass=False)


def _asked_wait(value: str | None) -> float | None:
    """Read Retry-After: seconds, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _as_fetch_error(error: Exception, options: DownloadOptions) -> FetchError:
    """Translate what the client raises."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RefusedAddressError):
            return FetchError(str(cause), may_pass=False)
        cause = getattr(cause, "os_error", None) or cause.__cause__
    if isinstance(error, TimeoutError):
        return FetchError(f"no whole answer within {options.timeout:g} s", may_pass=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return FetchError("the host's name does not resolve", may_pass=True)
    if isinstance(error, aiohttp.ClientSSLError):
        return FetchError("the server's certificate or TLS is not valid", may_pass=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        return FetchError(f"no connection ({error.os_error.strerror or error.os_error})", may_pass=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return FetchError("the answer ended early", may_pass=True)
    if isinstance(error, aiohttp.ServerDisconnectedError | OSError):
        return FetchError("the connection broke", may_pass=True)
    return FetchError(f"no valid HTTP ({type(error).__name__})", may_pass=False)
