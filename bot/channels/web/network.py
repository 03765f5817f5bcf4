"""Which network a visitor comes from, for the limit per network. The address itself is kept nowhere."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PREFIX = {4: 24, 6: 48}
"""Bits of an address that count: what one household, library or shelter usually has. An IPv6 site gets a /48
(RFC 6177, https://www.rfc-editor.org/rfc/rfc6177), so that single addresses there mean nothing."""


def address(text: str) -> Address | None:
    """An address as proxies write it, with or without a port; None for anything else.

    >>> address("[2001:db8::1]:443"), address("192.0.2.7:5060"), address("unknown")
    (IPv6Address('2001:db8::1'), IPv4Address('192.0.2.7'), None)
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # An IPv4 visitor of a server that listens on IPv6.
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def visitor(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """The visitor's address: the peer's, or, when the peer is a proxy of ours, the rightmost one that no proxy of ours has.

    What stands further left was written by the visitor himself, and is worth nothing.

    Args:
        peer: who opened the connection.
        forwarded: the X-Forwarded-For headers, in order.
        proxies: networks of our own proxies (TRUSTED_PROXIES).
    """

    def ours(one: Address) -> bool:
        return any(one.version == network.version and one in network for network in proxies)

    found = address(peer)
    hops = [hop for header in forwarded for hop in header.split(",")]
    while found is not None and ours(found) and hops:
        further = address(hops.pop())
        if further is None:
            break
        found = further
    return found


def network(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The visitor's network, "192.0.2.0/24" or "2001:db8::/48"; "" when there is no telling.

    >>> network("198.51.100.7", ["192.0.2.1"], [])
    '198.51.100.0/24'
    """
    found = visitor(peer, forwarded, proxies)
    if found is None:
        return ""
    return str(ipaddress.ip_network((found, PREFIX[found.version]), strict=False))
