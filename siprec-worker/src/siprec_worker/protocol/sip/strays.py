"""Requests within dialogs of other workers: passed on as they are, and the answer given back.

OpenSIPS keeps to the Contact of the first 200, whoever adopted the dialog; a worker that is asked
for another's passes the request on (RFC 3261 section 16, as far as one hop within needs it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from siprec_worker.errors import SipError
from siprec_worker.protocol.sip.events import Strayed
from siprec_worker.protocol.sip.flow import TCP, Target
from siprec_worker.protocol.sip.message import Headers, Request, Response, canonical
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.transaction import MAGIC_COOKIE
from siprec_worker.protocol.sip.uri import parse_uri

_MAX_FORWARDS_DIGITS = 3  # section 20.22: at most 255


class Strays:
    """What was passed on and has no answer yet, by our branch."""

    def __init__(self, new_token: Callable[[], str]) -> None:
        self._new_token = new_token
        self._waiting: dict[str, Strayed] = {}

    def pass_on(self, stray: Strayed, uri: str, settings: UasSettings) -> tuple[Request, Target]:
        """The request to send, and where to. Raises SipError: it has come too far, or there is no
        such place.
        """
        target = _target(uri)
        branch = f"{MAGIC_COOKIE}{self._new_token()}"
        via = f"SIP/2.0/{target.transport.upper()} {settings.sent_by(target.transport)}"
        hops = _hops_left(stray.request)
        items = [("Via", f"{via};branch={branch};rport")]
        for name, value in stray.request.headers.items:
            shorter = canonical(name) == "max-forwards"
            items.append((name, str(hops) if shorter else value))
        self._waiting[branch] = stray
        return replace(stray.request, headers=Headers(tuple(items))), target

    def answered(self, sent: Request) -> Strayed | None:
        """Whose request it was that has its final answer, or gets none."""
        return self._waiting.pop(sent.top_via.param("branch") or "", None)

    def awaits(self, response: Response) -> bool:
        return response.top_via.param("branch") in self._waiting


def _hops_left(request: Request) -> int:
    text = request.headers.get("max-forwards") or "70"
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_FORWARDS_DIGITS and int(text)):
        raise SipError("Max-Forwards", status=483, reason="Too Many Hops")
    return int(text) - 1


def _target(uri: str) -> Target:
    """Raises SipError for what is no SIP URI with an address; names are not looked up."""
    parsed = parse_uri(uri)
    try:
        ip_address(parsed.host)
    except ValueError as error:
        raise SipError(f"owner {uri!r}", status=480, reason="Temporarily Unavailable") from error
    transport = dict(parsed.params).get("transport", TCP).lower()
    return Target(transport, parsed.host, parsed.port or 5060)
