from __future__ import annotations

import grpc
import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork_sdk.errors import OpenRejected
from voicefork_sdk.model import PCM_8K, PCM_16K, ULAW, LegKind
from voicefork_sdk.options import AgentOptions, choose, opened


def offer(sample_rate: int = 8000, downlinks: tuple[int, ...] = (8000,)) -> pb.Open:
    pcm = pb.ENCODING_PCM_S16LE
    return pb.Open(
        legs=[pb.Leg(handle=1, kind=pb.LEG_KIND_CUSTOMER), pb.Leg(handle=2, kind=pb.LEG_KIND_PBX)],
        uplink=pb.Uplink(encoding=pcm, sample_rate=sample_rate, chunk_ms=40),
        downlink_choices=[pb.AudioFormat(encoding=pcm, sample_rate=rate) for rate in downlinks],
    )


def test_the_proposal_is_taken_where_the_agent_hears_it() -> None:
    choice = choose(offer(16000), AgentOptions(uplink=(PCM_8K, PCM_16K)))
    assert (choice.uplink, choice.chunk_ms) == (PCM_16K, 40)


def test_else_the_agents_first_wish_is_asked_for() -> None:
    assert choose(offer(), AgentOptions(uplink=(ULAW,))).uplink == ULAW


def test_the_first_downlink_that_was_offered_is_spoken() -> None:
    options = AgentOptions(downlink=(ULAW, PCM_16K, PCM_8K))
    assert choose(offer(downlinks=(8000, 16000)), options).downlink == PCM_16K


def test_no_common_downlink_refuses_the_call() -> None:
    with pytest.raises(OpenRejected) as refused:
        choose(offer(), AgentOptions(downlink=(ULAW,)))
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_legs_are_asked_for_by_kind() -> None:
    options = AgentOptions(legs=(LegKind.PBX,))
    answer = opened(offer(), options, choose(offer(), options), token="t", resumed=False)
    assert list(answer.opened.legs) == [2]


def test_an_agent_without_acks_offers_no_resume() -> None:
    features = AgentOptions(no_ack=True).all_features
    assert "no_ack" in features
    assert "resume" not in features
