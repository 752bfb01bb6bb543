"""A client of rtpengine's NG control protocol: what OpenSIPS' rtpengine module says to it.

One datagram per command, `<cookie> <bencoded dictionary>`; an unanswered one is sent again with
the same cookie, which rtpengine answers from its cache. Keys and their order are those of
OpenSIPS 3.6 (modules/rtpengine/rtpengine.c, rtpe_function_call_prepare and rtpengine_api_copy_op).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from voicefork_cli.sim.bencode import Decoded, Encodable, bdecode, bencode
from voicefork_cli.sim.errors import NgError, WireError

ATTEMPTS = 3
REPLY_SECONDS = 1.0
MAX_DATAGRAM = 65000
_TRANSCODING = ("allow-transcoding",)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Whose SDP passes: `from_tag` is the offering side's, in the offer and in its answer."""

    call_id: str
    from_tag: str
    to_tag: str  # empty in the offer that begins a dialog
    received_from: str  # where the SIP message came from


@dataclass(frozen=True, slots=True)
class ForkedMedia:
    """One m-line of a fork's offer: whose it is, and its a=label."""

    from_tag: str
    label: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """rtpengine's offer of a fork (RFC 7866: sendonly, one m-line per leg)."""

    to_tag: str  # rtpengine's own handle: kept for the answer and the unsubscription
    sdp: bytes
    media: tuple[ForkedMedia, ...]


class NgClient:
    """Commands to one rtpengine. Made by `open_ng`."""

    def __init__(self, transport: asyncio.DatagramTransport, replies: _Replies) -> None:
        self._transport = transport
        self._replies = replies

    async def ping(self) -> None:
        await self.command({"command": "ping"}, expect="pong")

    async def offer(self, exchange: Exchange, sdp: bytes) -> bytes:
        """Gives the SDP to offer the other side."""
        return await self._sdp("offer", exchange, sdp)

    async def answer(self, exchange: Exchange, sdp: bytes) -> bytes:
        """Gives the SDP to answer the offering side with."""
        return await self._sdp("answer", exchange, sdp)

    async def subscribe_request(
        self, call_id: str, from_tag: str, *, to_tag: str = "", allow_transcoding: bool = False
    ) -> Subscription:
        """Asks for a copy of both legs, as the siprec module does.

        Args:
            from_tag: the tag of the reply that started the fork (the callee's).
            to_tag: a running subscription's, to refresh it.
            allow_transcoding: `$siprec(media) = "RTP/AVP allow-transcoding"`.
        """
        request: dict[str, Encodable] = {"call-id": call_id}
        if to_tag:
            request["to-tag"] = to_tag
        flags = ["all", "siprec"]
        if allow_transcoding:
            request |= {"flags": [*flags, *_TRANSCODING], "transport-protocol": "RTP/AVP"}
        else:
            request["flags"] = flags
        request |= {"from-tag": from_tag, "command": "subscribe request"}
        reply = await self.command(request)
        return Subscription(_text(reply, "to-tag"), _bytes(reply, "sdp"), _forked_media(reply))

    async def subscribe_answer(
        self, call_id: str, to_tag: str, sdp: bytes, *, allow_transcoding: bool = False
    ) -> None:
        """Raises NgError where the answer lacks a codec of the offer (then OpenSIPS sends BYE)."""
        request: dict[str, Encodable] = {"call-id": call_id, "to-tag": to_tag, "sdp": sdp}
        if allow_transcoding:
            request |= {"flags": [*_TRANSCODING], "transport-protocol": "RTP/AVP"}
        await self.command(request | {"from-tag": to_tag, "command": "subscribe answer"})

    async def unsubscribe(self, call_id: str, to_tag: str) -> None:
        await self.command(
            {"call-id": call_id, "to-tag": to_tag, "from-tag": to_tag, "command": "unsubscribe"}
        )

    async def delete(self, call_id: str) -> None:
        await self.command({"call-id": call_id, "command": "delete"})

    async def query(self, call_id: str) -> Mapping[str, Decoded]:
        return await self.command({"call-id": call_id, "command": "query"})

    async def command(
        self, request: Mapping[str, Encodable], *, expect: str = "ok"
    ) -> dict[str, Decoded]:
        """One command and its reply.

        Raises:
            NgError: a refusal (its text is rtpengine's), or no answer to three sendings.
        """
        name = str(request["command"])
        cookie = secrets.token_hex(8)
        datagram = cookie.encode() + b" " + bencode(request)
        if len(datagram) > MAX_DATAGRAM:
            raise NgError(f"{name}: {len(datagram)} bytes do not fit into a datagram")
        reply = await self._ask(cookie, datagram)
        if reply is None:
            raise NgError(f"{name}: rtpengine does not answer at {self._peer()}; is it running?")
        if reply.get("result") != expect.encode():
            reason = reply.get("error-reason", b"no reason given")
            raise NgError(f"{name}: {reason.decode() if isinstance(reason, bytes) else reason}")
        return reply

    async def _ask(self, cookie: str, datagram: bytes) -> dict[str, Decoded] | None:
        waiting = self._replies.expect(cookie)
        try:
            for _ in range(ATTEMPTS):
                self._transport.sendto(datagram)
                done, _pending = await asyncio.wait([waiting], timeout=REPLY_SECONDS)
                if done:
                    return waiting.result()
            return None
        finally:
            self._replies.forget(cookie)

    async def _sdp(self, command: str, exchange: Exchange, sdp: bytes) -> bytes:
        request: dict[str, Encodable] = {
            "sdp": sdp,
            "call-id": exchange.call_id,
            "received-from": ["IP4", exchange.received_from],
            "from-tag": exchange.from_tag,
        }
        if exchange.to_tag:
            request["to-tag"] = exchange.to_tag
        return _bytes(await self.command(request | {"command": command}), "sdp")

    def _peer(self) -> str:
        host, port = self._transport.get_extra_info("peername")
        return f"{host}:{port}"


class _Replies(asyncio.DatagramProtocol):
    """Gives each reply to the one who waits for its cookie; others (late ones) are dropped."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[dict[str, Decoded]]] = {}

    def expect(self, cookie: str) -> asyncio.Future[dict[str, Decoded]]:
        future: asyncio.Future[dict[str, Decoded]] = asyncio.get_running_loop().create_future()
        self._waiting[cookie] = future
        return future

    def forget(self, cookie: str) -> None:
        self._waiting.pop(cookie).cancel()

    def datagram_received(self, data: bytes, addr: object) -> None:
        cookie, _, body = data.partition(b" ")
        future = self._waiting.get(cookie.decode("ascii", "replace"))
        if future is None or future.done():
            return
        try:
            reply = bdecode(body)
            if not isinstance(reply, dict):
                raise WireError("reply is no dictionary")  # noqa: TRY301 - one place to fail
        except WireError as error:
            future.set_exception(NgError(f"unreadable reply: {error}"))
        else:
            future.set_result(reply)

    def error_received(self, exc: Exception) -> None:
        """ICMP unreachable: the next sending may find rtpengine started."""


@asynccontextmanager
async def open_ng(address: tuple[str, int]) -> AsyncIterator[NgClient]:
    """A client of the rtpengine at `address` (its -n option). Opens no call, checks nothing."""
    loop = asyncio.get_running_loop()
    transport, replies = await loop.create_datagram_endpoint(_Replies, remote_addr=address)
    try:
        yield NgClient(transport, replies)
    finally:
        transport.close()


def _bytes(reply: Mapping[str, Decoded], key: str) -> bytes:
    value = reply.get(key)
    if not isinstance(value, bytes):
        raise NgError(f"reply without {key}")
    return value


def _text(reply: Mapping[str, Decoded], key: str) -> str:
    return _bytes(reply, key).decode()


def _forked_media(reply: Mapping[str, Decoded]) -> tuple[ForkedMedia, ...]:
    media: list[ForkedMedia] = []
    sources = reply.get("tag-medias")
    for source in sources if isinstance(sources, list) else []:
        medias = source.get("medias") if isinstance(source, dict) else None
        if not isinstance(source, dict) or not isinstance(medias, list):
            raise NgError("subscribe request: tag-medias that cannot be read")
        media += [
            ForkedMedia(_text(source, "tag"), _text(each, "label"))
            for each in medias
            if isinstance(each, dict)
        ]
    return tuple(media)
