"""Messages of real session recording clients against the endpoint, over UDP and TCP."""

from __future__ import annotations

from typing import Any

import pytest
from siprec_worker.net.sip_endpoint import open_sip_endpoint
from siprec_worker.protocol.sip.message import Response
from siprec_worker.protocol.sip.settings import UasSettings

from tests.integration.interop import normalised
from tests.integration.interop.client import connected_peer
from tests.integration.interop.corpus import Case, cases
from tests.integration.interop.recorder import Recorder, Recording
from tests.integration.interop.walk import Walk, assert_alive

CASES = cases("sip")


@pytest.mark.skipif(not CASES, reason="the interop corpus is not here: set VOICEFORK_SHARED")
@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_the_recording_client_is_served_as_it_expects(case: Case) -> None:
    recorder = Recorder()
    settings = UasSettings(host="127.0.0.1", port=0)
    async with (
        open_sip_endpoint("127.0.0.1", 0, settings, recorder) as endpoint,
        connected_peer(case.transport, endpoint.host, endpoint.port) as peer,
    ):
        await Walk(case, peer, RecorderWatch(recorder)).run()
        await assert_alive(peer, case.transport)


class RecorderWatch:
    """Looks into the bare recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def assert_extracted(self, extract: dict[str, Any], answer: Response) -> None:
        if not self._recorder.recordings:
            return  # refused before a session saw it
        recording = self._recorder.last
        if recording.offer is not None and "sdp_media" in extract and answer.status == 200:
            expected = normalised.expected_media_lines(extract["sdp_media"])
            assert normalised.media_lines(recording.offer) == expected
        if "metadata" in extract:
            assert_metadata(extract, recording)

    async def assert_one_recording(self, call_id: str) -> None:
        assert len(self._recorder.recordings) == 1


def assert_metadata(extract: dict[str, Any], recording: Recording) -> None:
    if extract["metadata"] is None:
        assert recording.unreadable
        return
    assert recording.document is not None
    assert recording.metadata is not None
    expected = normalised.expected_metadata(extract["metadata"])
    assert normalised.metadata(recording.document) == expected
    merged = normalised.metadata(recording.metadata)["participants"]
    if "merged_after" in extract:  # in any order
        sent = {p["id"]: {"send": set(p["send"]), "recv": set(p["recv"])} for p in merged}
        assert sent == {
            id_: {kind: set(labels) for kind, labels in kinds.items()}
            for id_, kinds in extract["merged_after"].items()
        }
    if "merged_participants_after" in extract:
        assert len(merged) == extract["merged_participants_after"]
    if "left" in extract:
        assert [p["id"] for p in merged if "disassociate_time" in p] == extract["left"]
