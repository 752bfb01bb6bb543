"""The messages of an established dialog: requests of ours and the headers of our answers."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from siprec_worker.errors import MultipartError, SipError
from siprec_worker.protocol.multipart import recording_body
from siprec_worker.protocol.sip.events import DialogState
from siprec_worker.protocol.sip.flow import TCP, TLS, UDP, Flow, Target
from siprec_worker.protocol.sip.message import Headers, Request, Response
from siprec_worker.protocol.sip.settings import ALLOW, SUPPORTED, UasSettings
from siprec_worker.protocol.sip.transaction import MAGIC_COOKIE
from siprec_worker.protocol.sip.uri import parse_name_addr, parse_uri

SDP_TYPE = ("Content-Type", "application/sdp")


def new_dialog_state(invite: Request, local_tag: str, flow: Flow) -> DialogState:
    """The state an INVITE would begin (RFC 3261 section 12.1.1). Raises SipError."""
    contacts = invite.headers.values("contact")
    if len(contacts) != 1:
        raise SipError(f"{len(contacts)} Contacts in an INVITE")
    target = parse_name_addr(contacts[0]).uri
    parse_uri(target)
    routes = tuple(invite.headers.values("record-route"))
    for route in routes:  # a request of ours will need them
        parse_uri(parse_name_addr(route).uri)
    to = parse_name_addr(invite.headers.get("to") or "")
    return DialogState(
        call_id=invite.call_id,
        local_tag=local_tag,
        remote_tag=invite.from_tag,
        local_party=f"<{to.uri}>",
        remote_party=invite.headers.get("from") or "",
        remote_target=target,
        route_set=routes,
        local_cseq=0,
        remote_cseq=invite.cseq.number,
        local_sdp="",
        transport=flow.transport,
        peer_host=flow.host,
        peer_port=flow.port,
        takes_update=_takes_update(invite),
    )


def _takes_update(invite: Request) -> bool:
    allowed = [method.upper() for method in invite.headers.values("allow")]
    return not allowed or "UPDATE" in allowed


def refreshed_target(message_headers: Headers, before: str) -> str:
    """The Contact's URI where one can be read (RFC 3261 section 12.2), else the target as it was.

    OpenSIPS answers with `Contact: <<sip:host>;+sip.src>`.
    """
    contact = next(iter(message_headers.values("contact")), "")
    try:
        uri = parse_name_addr(contact).uri
        parse_uri(uri)
    except SipError:
        return before
    return uri


def description_in(message: Request | Response) -> bytes:
    """The SDP of an ACK or an answer, by itself or in a multipart; b"" where there is none."""
    try:
        content = recording_body(message.content_type, message.body)
    except MultipartError:
        return b""
    return content.sdp or (b"" if message.content_type else message.body)


def next_hop(state: DialogState) -> Target:
    """Where requests of ours go: the first Route, else the remote target.

    A host name is not looked up: then the address that the INVITE came from is taken.
    """
    hop = parse_name_addr(state.route_set[0]).uri if state.route_set else state.remote_target
    uri = parse_uri(hop)
    stated = dict(uri.params).get("transport", "").lower()
    transport = stated if stated in (UDP, TCP, TLS) else state.transport
    if uri.scheme == "sips":
        transport = TLS
    try:
        ip_address(uri.host)
    except ValueError:
        return Target(state.transport, state.peer_host, state.peer_port)
    return Target(transport, uri.host, uri.port or (5061 if transport == TLS else 5060))


def in_dialog_request(  # noqa: PLR0913, PLR0917 - a message has this many parts
    state: DialogState,
    settings: UasSettings,
    method: str,
    cseq: int,
    branch: str,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
) -> Request:
    """A request of ours within the dialog (RFC 3261 section 12.2.1.1)."""
    transport = next_hop(state).transport
    sent_by = settings.sent_by(transport)
    uri, routes = _request_uri_and_routes(state)
    items = [
        ("Via", f"SIP/2.0/{transport.upper()} {sent_by};branch={MAGIC_COOKIE}{branch};rport"),
        ("Max-Forwards", "70"),
        *(("Route", route) for route in routes),
        ("From", f"{state.local_party};tag={state.local_tag}"),
        ("To", state.remote_party),
        ("Call-ID", state.call_id),
        ("CSeq", f"{cseq} {method}"),
        ("User-Agent", settings.server),
    ]
    if method in ("INVITE", "UPDATE"):
        items += [("Contact", settings.contact(transport, secure=state.secure)), ("Allow", ALLOW)]
        items.append(("Supported", SUPPORTED))
    items += headers
    if body and not any(name == "Content-Type" for name, _ in items):
        items.append(SDP_TYPE)
    return Request(Headers(tuple(items)), body, method, uri)


def _request_uri_and_routes(state: DialogState) -> tuple[str, tuple[str, ...]]:
    routes = state.route_set
    if not routes:
        return state.remote_target, ()
    first = parse_name_addr(routes[0]).uri
    if parse_uri(first).loose_router:
        return state.remote_target, routes
    # A strict router takes the request's URI for its own (RFC 2543).
    return first, (*routes[1:], f"<{state.remote_target}>")
