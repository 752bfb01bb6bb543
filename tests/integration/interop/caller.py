"""A recording client of a test: one dialog with a worker, whatever its messages look like."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from siprec_worker.protocol.sip.message import Response

from tests.builders.sip import request
from tests.integration.interop.client import Peer
from tests.integration.interop.worker import RunningWorker


class Caller:
    """Sends INVITE, re-INVITE and UPDATE, and acknowledges what is answered."""

    def __init__(self, peer: Peer, call_id: str = "quirk@test") -> None:
        self.peer = peer
        self.call_id = call_id
        self.tag = ""
        self.line_end = b"\r\n"
        self._cseq = 1

    async def ask(
        self,
        method: str = "INVITE",
        body: bytes = b"",
        headers: Iterable[tuple[str, str]] = (),
        ack: tuple[bytes, str] = (b"", ""),
    ) -> Response:
        """One request and its final answer. `ack`: body and type of the ACK."""
        self._cseq += 1
        message = self.request(method, body, headers)
        self.peer.send(message.replace(b"\r\n", self.line_end))
        answer = await self.peer.final_response(method, self._cseq)
        if answer.status < 300:
            self.tag = answer.to_tag
        if method == "INVITE":
            self.acknowledge(answer, ack[0], [("Content-Type", ack[1])] if ack[0] else ())
        return answer

    def request(
        self, method: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> bytes:
        return request(
            method,
            via=self._via(f"z9hG4bK{self.call_id.partition('@')[0]}.{method}{self._cseq}"),
            call_id=self.call_id,
            cseq=self._cseq,
            to_tag=self.tag,
            body=body,
            headers=[("Contact", f"<sip:src@{self._address}>;+sip.src"), *headers],
        )

    def acknowledge(
        self, answer: Response, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        branch = answer.top_via.param("branch") or ""
        if answer.status < 300:
            branch += "-ack"
        self.peer.send(
            request(
                "ACK", via=self._via(branch), call_id=self.call_id, cseq=self._cseq,
                to_tag=answer.to_tag, body=body, headers=headers,
            )
        )  # fmt: skip

    def _via(self, branch: str) -> str:
        return f"SIP/2.0/{self.peer.transport} {self._address};branch={branch}"

    @property
    def _address(self) -> str:
        host, port = self.peer.address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def shown(worker: RunningWorker, caller: Caller) -> dict[str, Any]:
    call = await worker.call(caller.call_id)
    assert call is not None
    return call
