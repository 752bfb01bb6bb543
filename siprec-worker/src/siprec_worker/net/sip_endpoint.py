"""The worker's SIP endpoint: a Uas with sockets and a clock."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial

from siprec_worker.errors import SetupError
from siprec_worker.net.sip_tcp import SipTcp, TcpLimits
from siprec_worker.net.sip_tls import RELOAD_SECONDS, Credentials, TlsListening
from siprec_worker.net.sip_udp import SipUdp
from siprec_worker.protocol.sip.events import DialogId, DialogState, Strayed, UasEvent
from siprec_worker.protocol.sip.flow import TLS, UDP, Flow, Outgoing
from siprec_worker.protocol.sip.settings import UasSettings
from siprec_worker.protocol.sip.uas import Uas

log = logging.getLogger(__name__)

Listener = Callable[["SipEndpoint", UasEvent], None]
DEFAULT_LIMITS = TcpLimits()
_BIND_TRIES = 20


class SipEndpoint:
    """Moves one Uas' messages, events and alarm.

    Events reach the listener on the event loop, one after another; it may call accept() and the
    other commands at once. An exception of the listener is logged and costs only its own call.
    """

    def __init__(
        self,
        settings: UasSettings,
        listener: Listener,
        limits: TcpLimits = DEFAULT_LIMITS,
        tls: TlsListening | None = None,
        admits: Callable[[], bool] | None = None,
    ) -> None:
        """`admits` is asked before each message: False = new calls and OPTIONS get 503 at once.

        Raises SetupError for TLS files that cannot be used.
        """
        self.host = ""
        self.port = 0
        self.tls_port = 0  # 0 = no TLS
        self.uas = Uas(settings)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._udp = SipUdp(self._received)
        self._tcp = SipTcp(self._received, limits)
        self._listening = tls
        self._tls = SipTcp(self._received, limits, Credentials(tls.files)) if tls else None
        self._tls_news = asyncio.Event()
        self._admits = admits
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0  # uvloop's handle of an alarm that is due at once does not know
        self._pumping = False
        self._closed = False

    async def listen(self, host: str, port: int) -> None:
        """UDP and TCP on one port (0 = a free one), TLS where it was told. Raises SetupError."""
        if self._tls is not None and self._listening is not None:
            await self._listen_tls(self._tls, self._listening)
        await self._listen_plain(host, port)

    async def _listen_tls(self, tls: SipTcp, at: TlsListening) -> None:
        try:
            await tls.listen(at.host, at.port)
        except OSError as error:
            raise SetupError(f"cannot listen on {at.host}:{at.port}: {error}") from error
        self.tls_port = tls.port
        self.uas.settings = replace(self.uas.settings, tls_port=tls.port)

    async def renew_tls(self) -> bool:
        """New connections get the certificates as their files are now; True if those changed.

        Files that cannot be used are told in the log; the ones before stay in use.
        """
        if self._tls is None:
            return False
        try:
            renewed = await self._tls.renew()
        except (SetupError, OSError):
            log.exception("TLS files not taken")
            return False
        if renewed:
            log.info("TLS files taken anew")
        return renewed

    async def watch_tls_files(self) -> None:
        """Looks at the files every few seconds, or when told to, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RELOAD_SECONDS):
                    await self._tls_news.wait()
            self._tls_news.clear()
            await self.renew_tls()

    def look_at_tls_files(self) -> None:
        """Now, not in a few seconds."""
        self._tls_news.set()

    async def _listen_plain(self, host: str, port: int) -> None:
        for _ in range(_BIND_TRIES):
            try:
                transport, _ = await self._loop.create_datagram_endpoint(
                    lambda: self._udp, local_addr=(host, port)
                )
                self.host, self.port = transport.get_extra_info("sockname")[:2]
                await self._tcp.listen(self.host, self.port)
            except OSError as error:
                self._udp.close()
                if port == 0 and error.errno == errno.EADDRINUSE:
                    continue  # free for UDP, but taken for TCP
                raise SetupError(f"cannot listen on {host}:{port}: {error}") from error
            if self.uas.settings.port == 0:
                self.uas.settings = replace(self.uas.settings, port=self.port)
            return
        raise SetupError(f"no port of {host} is free for both UDP and TCP")

    @property
    def available(self) -> bool:
        """False: new calls and OPTIONS get 503; running dialogs go on."""
        return self.uas.available

    @available.setter
    def available(self, value: bool) -> None:
        self.uas.available = value

    @property
    def connection_count(self) -> int:
        return self._tcp.connection_count + (self._tls.connection_count if self._tls else 0)

    # --- commands: see Uas -------------------------------------------------------------------

    def accept(self, of: DialogId, sdp: bytes, headers: Iterable[tuple[str, str]] = ()) -> bool:
        return self._command(partial(self.uas.accept, of, sdp, self._loop.time(), headers))

    def reject(
        self, of: DialogId, status: int, reason: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> bool:
        now = self._loop.time()
        return self._command(partial(self.uas.reject, of, status, reason, now, headers))

    def bye(self, of: DialogId, reason: str = "") -> bool:
        return self._command(partial(self.uas.bye, of, self._loop.time(), reason))

    def reinvite(self, of: DialogId, offer: bytes) -> bool:
        return self._command(partial(self.uas.reinvite, of, offer, self._loop.time()))

    def request_metadata(self, of: DialogId, reason: str = "") -> bool:
        return self._command(partial(self.uas.request_metadata, of, reason, self._loop.time()))

    def hand_over(self, of: DialogId) -> bool:
        return self._command(partial(self.uas.hand_over, of, self._loop.time()))

    def outrun(self, of: DialogId) -> bool:
        return self._command(partial(self.uas.outrun, of, self._loop.time()))

    def answer_stray(self, stray: Strayed, status: int) -> None:
        self.uas.answer_stray(stray, status, self._loop.time())
        self._pump()

    def pass_on(self, stray: Strayed, uri: str) -> None:
        self.uas.pass_on(stray, uri, self._loop.time())
        self._pump()

    def dialog_state(self, of: DialogId) -> DialogState | None:
        return self.uas.dialog_state(of)

    def adopt(self, state: DialogState) -> DialogId:
        return self.uas.adopt(state, self._loop.time())

    def _command(self, command: Callable[[], bool]) -> bool:
        done = command()
        self._pump()
        return done

    # --- moving ------------------------------------------------------------------------------

    def _received(self, data: bytes, flow: Flow) -> None:
        if not self._closed:
            if self._admits is not None:
                self.uas.available = self._admits()
            self.uas.receive(data, flow, self._loop.time())
            self._pump()

    def _woken(self) -> None:
        self._alarm = None
        self.uas.handle_timeout(self._loop.time())
        self._pump()

    def _pump(self) -> None:
        if self._pumping:
            return  # a command from within the listener: the loop below comes round again
        self._pumping = True
        try:
            self._send_all()
            while events := self.uas.events():
                for event in events:
                    self._tell(event)
                self._send_all()
        finally:
            self._pumping = False
        self._set_alarm()

    def _tell(self, event: UasEvent) -> None:
        try:
            self._listener(self, event)
        except Exception:
            log.exception("listener failed on %s", type(event).__name__)

    def _send_all(self) -> None:
        for message in self.uas.messages_to_send():
            self._send(message)

    def _send(self, message: Outgoing) -> None:
        if self._closed:
            return
        if message.target.transport == UDP:
            self._udp.send(message.data, message.target)
        elif message.target.transport == TLS:
            if self._tls is not None:
                self._tls.send(message.data, message.target, message.flow)
        else:
            self._tcp.send(message.data, message.target, message.flow)

    def _set_alarm(self) -> None:
        due = self.uas.next_timeout()
        if self._alarm is not None and (due is None or due < self._alarm_at):
            self._alarm.cancel()
            self._alarm = None
        # An alarm that is too early only costs a wake-up, so it stays.
        if due is not None and self._alarm is None and not self._closed:
            self._alarm, self._alarm_at = self._loop.call_at(due, self._woken), due

    async def aclose(self) -> None:
        """Closes the sockets without a word to the peers: bye() what should end first."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._udp.close()
        await self._tcp.aclose()
        if self._tls is not None:
            await self._tls.aclose()


@asynccontextmanager
async def open_sip_endpoint(  # noqa: PLR0913 - what SipEndpoint takes, and where it listens
    host: str,
    port: int,
    settings: UasSettings,
    listener: Listener,
    limits: TcpLimits = DEFAULT_LIMITS,
    *,
    tls: TlsListening | None = None,
    admits: Callable[[], bool] | None = None,
) -> AsyncIterator[SipEndpoint]:
    """An endpoint that listens; closed at the end. `settings.port` 0 becomes the bound port."""
    endpoint = SipEndpoint(settings, listener, limits, tls, admits)
    try:
        await endpoint.listen(host, port)
        yield endpoint
    finally:
        await endpoint.aclose()
