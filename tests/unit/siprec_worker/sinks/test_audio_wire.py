"""The hand-written Audio message is what protobuf writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.media.model import LegAudio
from siprec_worker.sinks.audio_wire import AudioWriter, varint
from voicefork.agent.v1 import agent_pb2 as pb

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)
legs = st.builds(LegAudio, u32, st.binary(max_size=400), u32)


def by_protobuf(seq: int, pts: int, parts: list[LegAudio]) -> bytes:
    written = [pb.LegAudio(handle=leg.handle, data=leg.data, flags=leg.flags) for leg in parts]
    audio = pb.Audio(pts=pts, legs=written)
    return pb.ConverseRequest(seq=seq, audio=audio).SerializeToString(deterministic=True)


@given(st.integers(1, 2**64 - 1), u64, st.lists(legs, max_size=4))
def test_bytes_equal_those_of_protobuf(seq: int, pts: int, parts: list[LegAudio]) -> None:
    size, pieces = AudioWriter().pieces(seq, pts, parts)
    assert b"".join(pieces) == by_protobuf(seq, pts, parts)
    assert size == len(b"".join(pieces))


@given(st.lists(st.tuples(u64, st.lists(legs, min_size=1, max_size=2)), min_size=1, max_size=80))
def test_a_writer_used_again_remembers_shapes_not_contents(
    chunks: list[tuple[int, list[LegAudio]]],
) -> None:
    writer = AudioWriter()
    for seq, (pts, parts) in enumerate(chunks, 1):
        assert b"".join(writer.pieces(seq, pts, parts)[1]) == by_protobuf(seq, pts, parts)


@given(u64)
def test_varint_is_the_shortest(value: int) -> None:
    field = pb.ConverseRequest(seq=value).SerializeToString()
    assert varint(value) == (field[1:] or b"\0")
