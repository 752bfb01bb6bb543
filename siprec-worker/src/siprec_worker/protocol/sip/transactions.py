"""All transactions of an endpoint, by key, with their timers."""

from __future__ import annotations

from siprec_worker.protocol.sip.deadlines import Deadlines
from siprec_worker.protocol.sip.flow import Flow, Outgoing, Target
from siprec_worker.protocol.sip.message import Request, Response
from siprec_worker.protocol.sip.transaction import (
    ClientTransaction,
    ServerTransaction,
    State,
    TransactionKey,
    client_key,
)


class Transactions:
    """Absorbs what is repeated, repeats what is lost. At most `limit` at a time."""

    def __init__(self, limit: int) -> None:
        self.refused = 0  # requests not taken because of the limit
        self._limit = limit
        self._servers: dict[TransactionKey, ServerTransaction] = {}
        self._clients: dict[TransactionKey, ClientTransaction] = {}
        self._server_times: Deadlines[TransactionKey] = Deadlines()
        self._client_times: Deadlines[TransactionKey] = Deadlines()
        self._outbox: list[Outgoing] = []

    # --- the peer's requests -----------------------------------------------------------------

    def absorbs(self, key: TransactionKey, request: Request, now: float) -> bool:
        """True for a retransmission, and for the ACK to a refusal. An ACK to a 2xx is no part of
        its INVITE's transaction (RFC 3261 section 13.3.1.4): it goes on to the dialog.
        """
        transaction = self._servers.get(key)
        if transaction is None:
            return False
        if request.method == "ACK" and transaction.state is State.ACCEPTED:
            return False
        transaction.receive(request, now)
        self._settle_server(key, transaction)
        return True

    def begin(self, key: TransactionKey, request: Request, flow: Flow) -> bool:
        if len(self._servers) >= self._limit:
            self.refused += 1
            return False
        self._servers[key] = ServerTransaction(request, flow)
        return True

    def knows(self, key: TransactionKey) -> bool:
        return key in self._servers

    def respond(self, key: TransactionKey, response: Response, now: float) -> None:
        if (transaction := self._servers.get(key)) is not None:
            transaction.respond(response, now)
            self._settle_server(key, transaction)

    def resend(self, key: TransactionKey) -> None:
        if (transaction := self._servers.get(key)) is not None:
            transaction.resend()
            self._outbox += transaction.messages_to_send()

    def _settle_server(self, key: TransactionKey, transaction: ServerTransaction) -> None:
        self._outbox += transaction.messages_to_send()
        self._server_times.set(key, transaction.next_timeout())
        if transaction.state is State.ENDED:
            self._servers.pop(key, None)

    # --- our requests ------------------------------------------------------------------------

    def ask(self, request: Request, target: Target, flow: Flow | None, now: float) -> None:
        key = client_key(request)
        transaction = ClientTransaction(request, target, flow, now)
        self._clients[key] = transaction
        self._settle_client(key, transaction)

    def receive_response(self, response: Response, now: float) -> Request | None:
        """The request of ours that this finally answers, once. Raises SipError."""
        key = client_key(response)
        transaction = self._clients.get(key)
        if transaction is None:
            return None
        news = transaction.receive(response, now)
        self._settle_client(key, transaction)
        return transaction.request if news is not None else None

    def _settle_client(self, key: TransactionKey, transaction: ClientTransaction) -> None:
        self._outbox += transaction.messages_to_send()
        self._client_times.set(key, transaction.next_timeout())
        if transaction.state is State.ENDED:
            self._clients.pop(key, None)

    # --- time --------------------------------------------------------------------------------

    def next_timeout(self) -> float | None:
        times = (self._server_times.earliest(), self._client_times.earliest())
        return min((time for time in times if time is not None), default=None)

    def handle_timeout(self, now: float) -> list[Request]:
        """Returns the requests of ours that nobody answered."""
        for key in list(self._server_times.due(now)):
            if (server := self._servers.get(key)) is not None:
                server.handle_timeout(now)
                self._settle_server(key, server)
        unanswered = []
        for key in list(self._client_times.due(now)):
            if (client := self._clients.get(key)) is not None:
                client.handle_timeout(now)
                self._settle_client(key, client)
                if client.timed_out:
                    unanswered.append(client.request)
        return unanswered

    def messages_to_send(self) -> list[Outgoing]:
        outbox, self._outbox = self._outbox, []
        return outbox
