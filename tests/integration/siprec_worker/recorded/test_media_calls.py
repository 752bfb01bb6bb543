"""Calls from offer to AI over real sockets: codecs, keys, reports, what is withheld."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from pylibsrtp import Policy, Session
from siprec_worker.media.model import AudioFormat, Encoding, Gap, GapCause
from siprec_worker.protocol.rtcp import (
    Goodbye,
    ReceiverReport,
    SenderReport,
    SourceDescription,
    parse_rtcp,
    write_goodbye,
)
from siprec_worker.session import events as ev
from siprec_worker.session.model import Sensitive
from siprec_worker.session.view import view

from tests.builders.rtp import rtp
from tests.builders.sdp import audio_line, sdp
from tests.integration.siprec_worker.media_calls import (
    HOST,
    Agent,
    Recorder,
    Source,
    open_recorder,
)

opuslib_next: Any = pytest.importorskip("opuslib_next", exc_type=ImportError)

KEY = bytes(range(30))
CM_80 = "AES_CM_128_HMAC_SHA1_80"
CRYPTO = f"a=crypto:1 {CM_80} inline:{base64.b64encode(KEY).decode()}"
PCM_16K = AudioFormat(Encoding.PCM_S16LE, 16_000)


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    async with open_recorder(Agent()) as recorder:
        yield recorder


def offer(source: Source, *extra: str, protocol: str = "RTP/AVP", rtpmap: str = "") -> bytes:
    rtpmaps = (rtpmap or "0 PCMU/8000",)
    more = [f"a=rtcp:{source.rtcp_port}", *extra]
    line = audio_line(port=source.port, protocol=protocol, rtpmaps=rtpmaps, extra=more)
    return sdp(line, host=HOST)


def protected() -> Session:
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    return Session(Policy(KEY, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))


def reports(source: Source, sock: Any = None) -> list[Any]:
    packets: list[Any] = []
    while True:
        try:
            packets += parse_rtcp((sock or source.rtcp).recv(2048))
        except BlockingIOError:
            return packets


def only_leg(recorder: Recorder) -> Any:
    legs: Any = view(recorder.call)["legs"]
    assert len(legs) == 1
    return legs[0]


async def test_protected_audio_is_heard_and_what_is_forged_is_not(
    recorder: Recorder, source: Source
) -> None:
    answer = recorder.offer(offer(source, CRYPTO, protocol="RTP/SAVP"))
    port = answer.media[0].port
    sender = protected()
    packets = [sender.protect(rtp(number)) for number in range(30)]
    await source.stream(packets, port)
    await source.stream([packets[5], rtp(31), *[sender.protect(rtp(n)) for n in (30, 31)]], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 32)
    leg = only_leg(recorder)
    assert leg["protected"]
    assert (leg["socket"]["srtp_replayed"], leg["socket"]["srtp_refused"]) == (1, 1)
    assert (leg["counters"]["lost"], leg["counters"]["bad"]) == (0, 0)


async def test_a_key_that_changes_in_mid_call_is_used_from_then_on(
    recorder: Recorder, source: Source
) -> None:
    port = recorder.offer(offer(source, CRYPTO, protocol="RTP/SAVP")).media[0].port
    sender = protected()
    await source.stream([sender.protect(rtp(number)) for number in range(10)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 10)
    again = offer(source, CRYPTO.replace("AAEC", "BBEC"), protocol="RTP/SAVP")
    assert recorder.offer(again).media[0].port == port
    key = base64.b64decode(base64.b64encode(KEY).decode().replace("AAEC", "BBEC"))
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    other = Session(Policy(key, Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    await source.stream([other.protect(rtp(number)) for number in range(10, 20)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 20)


async def test_a_line_may_become_protected_in_mid_call(recorder: Recorder, source: Source) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(10)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 10)
    recorder.offer(offer(source, CRYPTO, protocol="RTP/SAVP"))
    sender = protected()
    await source.stream([sender.protect(rtp(number)) for number in range(10, 20)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 20)


async def test_opus_reaches_an_ai_at_16_khz(source: Source) -> None:
    async with open_recorder(Agent(), uplink="pcm16") as recorder:
        answer = recorder.offer(offer(source, rtpmap="96 opus/48000/2"))
        assert b"useinbandfec=1" in answer.encode()
        encoder = opuslib_next.Encoder(48_000, 1, "voip")
        times = np.arange(960 * 50) / 48_000
        tone = np.rint(9000 * np.sin(2 * np.pi * 5000 * times)).astype("<i2").tobytes()
        packets = [
            rtp(n, encoder.encode(tone[n * 1920 : n * 1920 + 1920], 960), payload_type=96,
                timestamp=960 * n)
            for n in range(50)
        ]  # fmt: skip
        await source.stream(packets, answer.media[0].port)
        agent = recorder.agent
        await recorder.until(lambda: len(agent.audio) >= 50)
        assert agent.opening is not None
        assert agent.opening.uplink == PCM_16K
        assert [pts for pts, _ in agent.audio[:3]] == [
            agent.audio[0][0] + 320 * n for n in range(3)
        ]
        samples = np.frombuffer(agent.heard(), "<i2").astype(float)[8000:]
        power = np.abs(np.fft.rfft(samples)) ** 2
        assert power.argmax() * 16_000 / len(samples) == pytest.approx(5000, abs=20)


async def test_an_ai_that_asks_for_16_khz_gets_it(source: Source) -> None:
    async with open_recorder(Agent(PCM_16K)) as recorder:
        port = recorder.offer(offer(source)).media[0].port
        await source.stream([rtp(number) for number in range(20)], port)
        agent = recorder.agent
        await recorder.until(lambda: len(agent.audio) >= 10)
        assert {len(leg.data) for _, legs in agent.audio for leg in legs} == {640}
        assert not [one for one in agent.messages if isinstance(one, Gap)]


async def test_an_unsupported_line_is_refused_alone(recorder: Recorder, source: Source) -> None:
    other = audio_line("0", port=40_002, rtpmaps=("18 G729/8000",))
    line = audio_line("1", port=source.port, rtpmaps=("9 G722/8000", "18 G729/8000"))
    answer = recorder.offer(sdp(line, other, host=HOST))
    assert [media.port != 0 for media in answer.media] == [True, False]
    assert answer.media[0].formats == ("9",)


async def test_an_offer_of_unsupported_lines_is_refused(recorder: Recorder, source: Source) -> None:
    line = audio_line(port=source.port, rtpmaps=("18 G729/8000",))
    with pytest.raises(AssertionError, match="488"):
        recorder.offer(sdp(line, host=HOST))


async def test_reports_go_to_the_offered_address_and_end_with_a_goodbye(
    recorder: Recorder, source: Source
) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in (1, 2, 3, 5, 6, 7, 8, 9)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 8)
    recorder.hang_up()
    heard = reports(source)
    assert [type(packet) for packet in heard] == [ReceiverReport, SourceDescription, Goodbye]
    (block,) = heard[0].blocks
    assert (block.ssrc, block.lost, block.highest_sequence) == (0x5EED, 1, 9)
    assert heard[1].chunks[0][1][0] == (1, "fresh")
    assert heard[2].ssrcs == (heard[0].ssrc,)


async def test_reports_go_out_every_five_seconds(recorder: Recorder, source: Source) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 5)
    assert reports(source) == []
    for seconds in (6, 8, 11.5, 12):
        recorder.call.tick(recorder.now + seconds)
    assert [type(packet) for packet in reports(source)] == [ReceiverReport, SourceDescription] * 2


async def test_nobody_is_told_anything_at_no_address(recorder: Recorder, source: Source) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 5)
    recorder.offer(offer(source).replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0"))
    call = recorder.call
    recorder.hang_up()
    assert call.lines[0].socket.counters()["rtcp_sent"] == 0


async def test_a_line_that_is_given_up_says_goodbye(recorder: Recorder, source: Source) -> None:
    kept = audio_line("0", port=40_002)
    line = audio_line("1", port=source.port, extra=[f"a=rtcp:{source.rtcp_port}"])
    port = recorder.offer(sdp(line, kept, host=HOST)).media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 5)
    recorder.offer(sdp(audio_line("1", port=0), kept, host=HOST))
    assert any(isinstance(packet, Goodbye) for packet in reports(source))


async def test_reports_and_audio_may_share_a_port(recorder: Recorder, source: Source) -> None:
    answer = recorder.offer(offer(source, "a=rtcp-mux"))
    assert answer.media[0].rtcp_mux
    port = answer.media[0].port
    await source.stream([rtp(1), write_goodbye((0x5EED,)), rtp(2)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 2)
    call = recorder.call
    recorder.hang_up()
    assert any(isinstance(packet, ReceiverReport) for packet in reports(source, source.rtp))
    assert call.counters()[1]["bad"] == 0
    assert call.counters()[1]["goodbye"]


async def test_protected_reports_can_be_read_with_our_key(
    recorder: Recorder, source: Source
) -> None:
    answer = recorder.offer(offer(source, CRYPTO, protocol="RTP/SAVP"))
    sender = protected()
    await source.stream([sender.protect(rtp(number)) for number in range(5)], answer.media[0].port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 5)
    recorder.hang_up()
    ours = base64.b64decode(answer.media[0].crypto[0].split("inline:")[1])
    profile = Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    reader = Session(Policy(ours, Policy.SSRC_ANY_INBOUND, srtp_profile=profile))
    packets = parse_rtcp(reader.unprotect_rtcp(source.rtcp.recv(2048)))
    assert [type(p) for p in packets] == [ReceiverReport, SourceDescription, Goodbye]


async def test_a_leg_tells_how_good_it_sounds(recorder: Recorder, source: Source) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(20)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 20)
    leg = only_leg(recorder)
    assert leg["quality"]["loss_percent"] == 0
    assert leg["quality"]["mos"] > 4.2


async def test_nothing_reaches_the_ai_while_card_data_is_spoken(
    recorder: Recorder, source: Source
) -> None:
    port = recorder.offer(offer(source)).media[0].port
    agent = recorder.agent
    await source.stream([rtp(number) for number in range(10)], port)
    await recorder.until(lambda: len(agent.audio) >= 10)
    agent.say(Sensitive(True))
    await source.stream([rtp(number) for number in range(10, 20)], port)
    assert len(agent.audio) == 10
    agent.say(Sensitive(False))
    recorder.call.feed(ev.PauseAsked(), recorder.now)
    await source.stream([rtp(number) for number in range(20, 30)], port)
    assert len(agent.audio) == 10
    recorder.call.feed(ev.ResumeAsked(), recorder.now)
    await source.stream([rtp(number) for number in range(30, 45)], port)
    await recorder.until(lambda: len(agent.audio) >= 20)
    gaps = [one for one in agent.messages if isinstance(one, Gap)]
    assert {gap.cause for gap in gaps} <= {GapCause.REDACTED, GapCause.PAUSED}
    assert gaps[0].from_pts == agent.audio[9][0] + 160
    assert gaps[-1].to_pts == agent.audio[10][0]


async def test_a_source_that_moved_by_reinvite_is_heard_and_the_old_one_is_not(
    recorder: Recorder, source: Source
) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    await recorder.until(lambda: len(recorder.agent.audio) >= 5)
    moved = Source()
    try:
        assert recorder.offer(offer(moved)).media[0].port == port
        await source.stream([rtp(100, b"\x00" * 160)], port)
        await moved.stream([rtp(number) for number in range(5, 12)], port)
        await recorder.until(lambda: len(recorder.agent.audio) >= 12)
        assert recorder.call.counters()[1]["packets"] == 12
    finally:
        moved.close()


async def test_a_leg_on_hold_says_so(recorder: Recorder, source: Source) -> None:
    port = recorder.offer(offer(source)).media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    held = sdp(audio_line(port=source.port, direction="inactive"), host=HOST)
    recorder.offer(held)
    agent = recorder.agent
    await recorder.until(lambda: any(isinstance(one, Gap) for one in agent.messages))
    gaps = [one for one in agent.messages if isinstance(one, Gap)]
    assert {gap.cause for gap in gaps} == {GapCause.ON_HOLD}


async def test_their_report_is_answered_with_its_time(recorder: Recorder, source: Source) -> None:
    answer = recorder.offer(offer(source))
    port = answer.media[0].port
    await source.stream([rtp(number) for number in range(5)], port)
    # RFC 3550 section 6.4.1: NTP time in the middle of which the report refers to it.
    header = bytes((0x80, 200, 0, 6)) + (0x5EED).to_bytes(4, "big")
    body = (0x11112222_33334444).to_bytes(8, "big") + bytes(12)
    source.rtcp.sendto(header + body, (HOST, port + 1))
    assert isinstance(parse_rtcp(header + body)[0], SenderReport)
    await source.stream([rtp(number) for number in range(5, 40)], port)  # RTCP is read every 0.5 s
    recorder.hang_up()
    (block,) = reports(source)[0].blocks
    assert block.last_sr == 0x22223333
