"""What a download must never talk to."""

import asyncio
import socket

import pytest

pytest.importorskip("aiohttp")

from base_models.download.addresses import PublicResolver, RefusedAddressError, check_url, is_public


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "not an address", ""),
        *("::127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "192.0.0.192", "168.63.129.16", "2001:db8::1", "198.18.0.1"),
    ],
)
def test_private_addresses_in_every_form(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("ftp://example.org/a.jpg", "only http and https"),
        ("a.jpg", "only http and https"),
        ("http:///a.jpg", "names no host|not a url"),
        ("http://user:word@example.org/a.jpg", "credentials"),
        ("http://example.org:22/a.jpg", "port 22"),
        ("http://example.org:99999/a.jpg", "not a url"),
        ("http://127.0.0.1/a.jpg", "private address"),
        ("http://[::1]/a.jpg", "private address"),
        ("http://[::ffff:127.0.0.1]/a.jpg", "private address"),
        ("http://169.254.169.254/latest/meta-data", "private address"),
        ("http://①②⑦.⓪.⓪.①/a.jpg", "private address"),
        ("http://127。0。0。1/a.jpg", "private address"),
        ("http://2130706433/a.jpg", "address in an unusual form"),
        ("http://127.1/a.jpg", "address in an unusual form"),
        ("http://0x7f.0.0.1/a.jpg", "address in an unusual form"),
        ("http://0177.0.0.1/a.jpg", "address in an unusual form"),
        ("http://127.0.0.1./a.jpg", "address in an unusual form"),
        ("http://example.org:80@127.0.0.1/a.jpg", "credentials"),
        ("http://example.org\\@127.0.0.1/a.jpg", "not a url"),
        ("http://example.org:8080/a.jpg", "port 8080"),
    ],
)
def test_urls_that_are_refused(url, reason):
    with pytest.raises(RefusedAddressError, match=reason):
        check_url(url)


def test_private_addresses_and_ports_can_be_allowed():
    assert check_url("http://127.0.0.1:8000/a.jpg", allow_private=True).port == 8000
    with pytest.raises(RefusedAddressError, match="only http and https"):
        check_url("file:///etc/passwd", allow_private=True)


@pytest.mark.parametrize("answers", [["127.0.0.1"], ["93.184.216.34", "10.0.0.1"]])
def test_a_name_that_leads_to_a_private_address_is_refused(monkeypatch, answers):
    def getaddrinfo(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 80)) for answer in answers]

    async def resolve(allow_private):
        return await PublicResolver(allow_private).resolve("rebound.example", 80)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(RefusedAddressError, match=r"rebound\.example leads to the private address"):
        asyncio.run(resolve(False))
    assert [entry["host"] for entry in asyncio.run(resolve(True))] == answers
