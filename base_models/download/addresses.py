"""Which addresses a download may talk to: public web servers, and nothing inside the user's own network.

A list of a million urls comes from strangers, and each may redirect anywhere: to the router, to a cloud's metadata
service, to a service on this machine. Urls are checked at every hop; names are resolved by :class:`PublicResolver`,
whose answer is the one that the connection uses, so a name cannot turn private between the check and the use.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NOT_PUBLIC = tuple(  # what Python's is_global lets pass: protocol assignments, relays, site-local, a cloud's metadata
    ipaddress.ip_network(network) for network in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "fec0::/10")
)
_WEB_PORTS = (80, 443)
_LIKE_AN_ADDRESS = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.IGNORECASE)  # 127.1, 0x7f000001: IPv4 to systems


class RefusedAddressError(OSError):
    """An address that a download must not talk to; trying again would not help."""


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet.

    Parameters
    ----------
    address : str
        IPv4 or IPv6 in its usual notation; a zone (``%eth0``) makes it private.

    Returns
    -------
    bool
        False for private, loopback, link-local, shared, reserved and multicast addresses, for IPv6 forms that carry
        such an IPv4 address (mapped, 6to4, Teredo, NAT64), for metadata services of clouds, and for what is no address.

    Examples
    --------
    >>> is_public("93.184.216.34"), is_public("127.0.0.1"), is_public("64:ff9b::7f00:1")
    (True, False, False)
    """
    try:
        value = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(value, ipaddress.IPv6Address):
        if value in _NAT64:  # the way to an IPv4 host in a network without IPv4
            return is_public(str(ipaddress.IPv4Address(int(value) & 0xFFFFFFFF)))
        if value.ipv4_mapped is not None:
            return is_public(str(value.ipv4_mapped))
        carried = [value.sixtofour, *(value.teredo or ())]
        if not all(part is None or is_public(str(part)) for part in carried):
            return False
    if any(value in network for network in _NOT_PUBLIC):
        return False
    return value.is_global and not value.is_multicast and not value.is_reserved


def check_url(text: str, *, allow_private: bool = False) -> URL:
    """Parse a url and refuse what no photo of a public data set has.

    Parameters
    ----------
    text : str
        The url, absolute.
    allow_private : bool, default=False
        Let private addresses and unusual ports pass.

    Returns
    -------
    yarl.URL
        The parsed url.

    Raises
    ------
    RefusedAddressError
        If it is no http or https url, names no host, carries credentials, or (unless allowed) names a private address
        or another port than 80 and 443.
    """
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError as error:
        raise RefusedAddressError(f"not a url ({error})") from error
    if url.scheme not in ("http", "https"):
        raise RefusedAddressError(f"only http and https are fetched, not {url.scheme or 'a path'!r}")
    if not host:
        raise RefusedAddressError("the url names no host")
    if url.user is not None or url.password is not None:
        raise RefusedAddressError("the url carries credentials")
    if allow_private:
        return url
    if port not in _WEB_PORTS:
        raise RefusedAddressError(f"port {port} is neither 80 nor 443")
    if _is_literal(host):
        if not is_public(host):
            raise RefusedAddressError(f"{host} is a private address")
    elif _LIKE_AN_ADDRESS.fullmatch(host):
        raise RefusedAddressError(f"{host} is an address in an unusual form")
    return url


class PublicResolver(AbstractResolver):
    """Resolve host names, and refuse those that lead to a private address.

    Parameters
    ----------
    allow_private : bool, default=False
        Let private addresses pass.
    """

    def __init__(self, allow_private: bool = False) -> None:
        self._inner = ThreadedResolver()
        self._allow_private = allow_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Parameters
        ----------
        host : str
            Its name.
        port : int, default=0
            The port that will be used.
        family : socket.AddressFamily, default=AF_INET
            Which addresses are wanted.

        Returns
        -------
        list of ResolveResult
            As aiohttp expects them.

        Raises
        ------
        RefusedAddressError
            If one of the addresses is private.
        """
        found = await self._inner.resolve(host, port, family)
        private = [entry["host"] for entry in found if not is_public(entry["host"])]
        if private and not self._allow_private:
            raise RefusedAddressError(f"{host} leads to the private address {private[0]}")
        return found

    async def close(self) -> None:
        """Release what the resolver holds."""
        await self._inner.close()


def _is_literal(host: str) -> bool:
    """Tell whether a host is an address already, so that no resolver will see it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
