"""The NG protocol against a real rtpengine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from voicefork_cli.lab.rtpengine import Rtpengine
from voicefork_cli.sim.errors import NgError
from voicefork_cli.sim.ng import Exchange, ForkedMedia, NgClient, open_ng
from voicefork_cli.sim.sdp import audio_lines, phone_sdp

CALLER, CALLEE = ("127.0.0.1", 30000), ("127.0.0.1", 30002)


@pytest.fixture
async def ng(rtpengine: Rtpengine) -> AsyncIterator[NgClient]:
    async with open_ng((rtpengine.host, rtpengine.port)) as ng:
        yield ng


async def set_up(ng: NgClient, call_id: str = "c1") -> None:
    await ng.offer(Exchange(call_id, "ft", "", "127.0.0.1"), phone_sdp(CALLER, "PCMU"))
    await ng.answer(Exchange(call_id, "ft", "tt", "127.0.0.1"), phone_sdp(CALLEE, "PCMU"))


async def test_an_offer_and_its_answer_are_rewritten(ng: NgClient) -> None:
    offered = await ng.offer(Exchange("c1", "ft", "", "127.0.0.1"), phone_sdp(CALLER, "PCMU"))
    (line,) = audio_lines(offered)
    assert line.address != CALLER
    answer = await ng.answer(Exchange("c1", "ft", "tt", "127.0.0.1"), phone_sdp(CALLEE, "PCMU"))
    assert audio_lines(answer)[0].port not in (line.port, CALLEE[1])


async def test_a_fork_has_both_legs_labelled_as_opensips_sees_them(ng: NgClient) -> None:
    await set_up(ng)
    fork = await ng.subscribe_request("c1", "tt")
    assert fork.media == (ForkedMedia("ft", "1"), ForkedMedia("tt", "0"))
    assert [line.label for line in audio_lines(fork.sdp)] == ["1", "0"]
    assert {line.direction for line in audio_lines(fork.sdp)} == {"sendonly"}


async def test_a_fork_asked_for_again_is_the_same(ng: NgClient) -> None:
    await set_up(ng)
    fork = await ng.subscribe_request("c1", "tt")
    assert await ng.subscribe_request("c1", "tt", to_tag=fork.to_tag) == fork


async def test_an_answer_without_a_codec_is_refused(ng: NgClient) -> None:
    await set_up(ng)
    fork = await ng.subscribe_request("c1", "tt")
    subset = fork.sdp.replace(b"RTP/AVP 0 101", b"RTP/AVP 0")
    with pytest.raises(NgError, match="Failed to process subscription answer"):
        await ng.subscribe_answer("c1", fork.to_tag, subset)


async def test_allow_transcoding_makes_a_subset_acceptable(ng: NgClient) -> None:
    await set_up(ng)
    fork = await ng.subscribe_request("c1", "tt", allow_transcoding=True)
    subset = fork.sdp.replace(b"RTP/AVP 0 101", b"RTP/AVP 0").replace(b"sendonly", b"recvonly")
    await ng.subscribe_answer("c1", fork.to_tag, subset, allow_transcoding=True)


async def test_a_deleted_call_is_gone(ng: NgClient) -> None:
    await set_up(ng)
    assert "tags" in await ng.query("c1")
    await ng.delete("c1")
    with pytest.raises(NgError, match="query"):
        await ng.query("c1")


async def test_where_no_rtpengine_is_it_says_so() -> None:
    async with open_ng(("127.0.0.1", 9)) as ng:
        with pytest.raises(NgError, match=r"127\.0\.0\.1:9; is it running"):
            await ng.ping()
