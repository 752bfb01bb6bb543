"""Who may ask anything here: by network, and by name and password."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from siprec_worker.protocol.sip.digest import DigestCheck, DigestRealm
from siprec_worker.protocol.sip.flow import Flow
from siprec_worker.protocol.sip.message import Request, Response

Network = IPv4Network | IPv6Network

# A BYE or INFO knows the dialog's tags, which nobody can guess; ACK and CANCEL cannot be
# challenged (RFC 3261 sections 22.1); OPTIONS tells nothing and changes nothing.
_CHALLENGED = frozenset({"INVITE", "UPDATE"})


class Gate:
    """Refuses what comes from elsewhere (403), and what nobody vouches for (401).

    Without networks everybody may ask; without a realm nobody is asked for a password.
    """

    def __init__(
        self,
        networks: tuple[Network, ...],
        realm: DigestRealm | None,
        new_token: Callable[[], str],
    ) -> None:
        self.refused = 0  # requests from elsewhere, ACKs too
        self._networks = networks
        self.digest = DigestCheck(realm, new_token) if realm is not None else None
        self._known = lru_cache(maxsize=4096)(self._contains)

    def lets_in(self, flow: Flow) -> bool:
        """May this source ask at all?"""
        if not self._networks or self._known(flow.host):
            return True
        self.refused += 1
        return False

    def challenge(self, request: Request, now: float) -> Response | None:
        """The 401 of a request that needs credentials and has none that are right."""
        if self.digest is None or request.method not in _CHALLENGED:
            return None
        headers = self.digest.challenge(request, now)
        return None if headers is None else request.reply(401, headers=headers)

    def _contains(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
