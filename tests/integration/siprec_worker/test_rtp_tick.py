"""The tick with real sockets: who is heard, in what order, and what an error may stop."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from siprec_worker.media.call_audio import CallAudio
from siprec_worker.media.model import AudioChunk, AudioFormat, Encoding
from siprec_worker.net.rtp_source import SourceLatch
from siprec_worker.net.rtp_tick import RtpTick

from tests.builders.rtp import rtp

HOST = "127.0.0.1"
Open = Callable[[], socket.socket]


@pytest.fixture
def open_socket() -> Iterator[Open]:
    """Bound, non-blocking, closed at the end."""
    with ExitStack() as stack:

        def bound() -> socket.socket:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.setblocking(False)
            sock.bind((HOST, 0))
            return sock

        yield bound


async def until(condition: Callable[[], bool]) -> None:
    """Looks at what a tick did, which tells nobody that it is done."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen within 5 s")


async def ticks(tick: RtpTick, number: int) -> None:
    goal = tick.stats.ticks + number
    await until(lambda: tick.stats.ticks >= goal)


async def test_datagrams_reach_their_receiver_in_order(open_socket: Open) -> None:
    sockets = [open_socket() for _ in range(3)]
    heard: list[list[bytes]] = [[] for _ in sockets]
    sender = open_socket()
    with RtpTick(interval=0.01) as tick:
        for sock, inbox in zip(sockets, heard, strict=True):
            tick.add(sock, inbox.append)
        for number in range(20):
            for sock in sockets:
                sender.sendto(rtp(number), sock.getsockname())
        await until(lambda: sum(map(len, heard)) == 60)
    assert heard == [[rtp(number) for number in range(20)]] * 3
    assert tick.stats.packets == 60


async def test_listeners_run_after_the_drain_by_order_and_age(open_socket: Open) -> None:
    sock, sender = open_socket(), open_socket()
    seen: list[str] = []
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, lambda _: seen.append("datagram"))
        tick.add_listener(lambda _: seen.append("last"), order=20)
        tick.add_listener(lambda _: seen.append("first"))
        tick.add_listener(lambda _: seen.append("second"))
        sender.sendto(b"x", sock.getsockname())
        await ticks(tick, 1)
    assert seen[:4] == ["datagram", "first", "second", "last"]


async def test_a_receiver_or_listener_that_fails_stops_nobody(open_socket: Open) -> None:
    bad, good, sender = open_socket(), open_socket(), open_socket()
    heard: list[bytes] = []
    told: list[float] = []

    def fail(_: object) -> None:
        raise LookupError

    with RtpTick(interval=0.01) as tick:
        tick.add(bad, fail)
        tick.add(good, heard.append)
        tick.add_listener(fail)
        tick.add_listener(told.append)
        sender.sendto(b"x", bad.getsockname())
        sender.sendto(b"y", good.getsockname())
        await ticks(tick, 3)
    assert heard == [b"y"]
    assert len(told) >= 3
    assert tick.stats.listener_errors == 1 + len(told)


async def test_an_error_of_one_socket_is_counted_and_passes(open_socket: Open) -> None:
    sock, gone = open_socket(), open_socket()
    heard: list[bytes] = []
    sock.connect(gone.getsockname())
    port = gone.getsockname()
    gone.close()
    sock.send(b"x")  # nobody there: the next recv fails
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append)
        await until(lambda: tick.stats.socket_errors == 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
            back.bind(port)
            back.sendto(b"y", sock.getsockname())
            await until(lambda: heard == [b"y"])


async def test_a_removed_socket_is_not_read(open_socket: Open) -> None:
    sock, sender = open_socket(), open_socket()
    heard: list[bytes] = []
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append)
        tick.remove(sock)
        tick.remove(sock)
        sender.sendto(b"x", sock.getsockname())
        await ticks(tick, 3)
    assert heard == []
    tick.remove(sock)


async def test_a_flooded_socket_does_not_starve_another(open_socket: Open) -> None:
    flooded, quiet, sender = open_socket(), open_socket(), open_socket()
    order: list[str] = []
    with RtpTick(interval=0.01) as tick:
        tick.add(flooded, lambda _: order.append("flooded"))
        tick.add(quiet, lambda _: order.append("quiet"))
        for _ in range(100):
            sender.sendto(b"x", flooded.getsockname())
        sender.sendto(b"x", quiet.getsockname())
        await until(lambda: len(order) == 101)
    assert order.index("quiet") <= 1


async def test_a_stall_is_counted_and_not_made_up_for() -> None:
    times: list[float] = []
    with RtpTick(interval=0.02) as tick:
        tick.add_listener(times.append)
        await ticks(tick, 2)
        time.sleep(0.5)  # noqa: ASYNC251 - the stall
        before = len(times)
        await ticks(tick, 3)
    assert tick.stats.skipped_ticks + tick.stats.late_ticks >= 5
    assert tick.stats.longest_tick < 0.5
    # Right after the stall one tick comes at once, the others at their pace.
    assert times[before + 2] - times[before] > 0.015


async def test_ticks_do_not_drift() -> None:
    times: list[float] = []
    with RtpTick(interval=0.02) as tick:
        tick.add_listener(times.append)
        await ticks(tick, 40)
    steps = [round((at - times[0]) / 0.02, 2) for at in times]
    # The later ones sit on the grid of the first, but for the delay of a busy machine.
    assert sum(abs(step - round(step)) < 0.3 for step in steps) > len(steps) * 0.7


async def test_only_the_offered_address_is_heard_until_the_latch_closes(open_socket: Open) -> None:
    sock, offered, stranger = open_socket(), open_socket(), open_socket()
    heard: list[bytes] = []
    latch = SourceLatch(sock, *offered.getsockname())
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append, latch)
        stranger.sendto(b"stranger", sock.getsockname())
        await until(lambda: latch.refused == 1)
        assert latch.latched is None
        offered.sendto(b"offered", sock.getsockname())
        stranger.sendto(b"stranger", sock.getsockname())
        await until(lambda: heard == [b"offered"])
        stranger.sendto(b"stranger", sock.getsockname())  # the kernel drops it
        offered.sendto(b"again", sock.getsockname())
        await until(lambda: len(heard) == 2)
    assert heard == [b"offered", b"again"]
    assert latch.latched == offered.getsockname()
    assert tick.stats.refused == latch.refused == 2


async def test_another_port_is_taken_only_where_the_policy_says_so(open_socket: Open) -> None:
    sock, offered, other = open_socket(), open_socket(), open_socket()
    heard: list[bytes] = []
    latch = SourceLatch(sock, HOST, offered.getsockname()[1], any_port=True)
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append, latch)
        other.sendto(b"other", sock.getsockname())
        await until(lambda: heard == [b"other"])
    assert latch.latched == other.getsockname()


async def test_a_reinvite_moves_the_latch(open_socket: Open) -> None:
    sock, first, second = open_socket(), open_socket(), open_socket()
    heard: list[bytes] = []
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append, SourceLatch(sock, *first.getsockname()))
        first.sendto(b"1", sock.getsockname())
        await until(lambda: heard == [b"1"])
        tick.relatch(sock, *second.getsockname())
        first.sendto(b"late", sock.getsockname())
        second.sendto(b"2", sock.getsockname())
        await until(lambda: len(heard) == 2)
    assert heard == [b"1", b"2"]


async def test_a_reinvite_with_the_same_address_changes_nothing(open_socket: Open) -> None:
    sock, source = open_socket(), open_socket()
    latch = SourceLatch(sock, *source.getsockname())
    heard: list[bytes] = []
    with RtpTick(interval=0.01) as tick:
        tick.add(sock, heard.append, latch)
        source.sendto(b"1", sock.getsockname())
        await until(lambda: heard == [b"1"])
        tick.relatch(sock, *source.getsockname())
        assert latch.latched == source.getsockname()


async def test_rtcp_is_drained_too(open_socket: Open) -> None:
    sock, sender = open_socket(), open_socket()
    heard: list[bytes] = []
    with RtpTick(interval=0.01) as tick:
        tick.add_rtcp(sock, heard.append)
        sender.sendto(b"report", sock.getsockname())
        await until(lambda: heard == [b"report"])


class DatagramOracle(asyncio.DatagramProtocol):
    """The loop's own way to receive: a callback per datagram."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self._receive = receive

    def datagram_received(self, data: bytes, _: object) -> None:
        self._receive(data)


async def test_a_call_hears_the_same_as_with_the_loops_own_receiver(open_socket: Open) -> None:
    loop = asyncio.get_running_loop()
    ticked, plain, sender = open_socket(), open_socket(), open_socket()
    arrived: list[list[bytes]] = [[], []]
    calls = [CallAudio(0.0, uplink=AudioFormat(Encoding.G711_ULAW, 8000)) for _ in "ab"]
    tracks = [call.add_track(0, {0: ("PCMU", 8000)}) for call in calls]
    audio: list[list[bytes]] = [[], []]
    with RtpTick(interval=0.02) as tick:
        tick.add(ticked, arrived[0].append)
        transport, _ = await loop.create_datagram_endpoint(
            lambda: DatagramOracle(arrived[1].append), sock=plain
        )

        def listen(now: float) -> None:
            for call, heard in zip(calls, audio, strict=True):
                for item in call.tick(now):
                    if isinstance(item, AudioChunk):
                        heard.append(item.legs[0].data)

        def play(begun: int) -> None:
            """Four ticks of the calls' own time, with what has come since the last."""
            for track, packets in zip(tracks, arrived, strict=True):
                for packet in packets[begun:]:
                    track.receive(packet)
            for number in range(begun + 1, begun + 5):
                listen(number * 0.02)

        for call in calls:
            call.want([0])
        numbers = list(range(40))
        shuffled = random.Random(7)
        for at in range(0, 40, 4):
            block = numbers[at : at + 4]
            shuffled.shuffle(block)
            for number in block if at else range(4):
                for sock in (ticked, plain):
                    sender.sendto(rtp(number), sock.getsockname())
            await until(lambda at=at: [len(one) for one in arrived] == [at + 4] * 2)  # type: ignore[misc]
            play(at)
        play(40)
        transport.close()
    assert audio[0] == audio[1]
    assert [data[0] for data in audio[0]] == numbers
