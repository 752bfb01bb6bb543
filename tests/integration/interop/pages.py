"""What a worker's admin pages show of a corpus case, against what was sent."""

from __future__ import annotations

from typing import Any

from siprec_worker.protocol.sip.message import Response

from tests.integration.interop.worker import RunningWorker


class Pages:
    """The worker's admin pages: what they say of the case's call must be what was sent."""

    def __init__(self, worker: RunningWorker) -> None:
        self._worker = worker

    async def assert_extracted(self, extract: dict[str, Any], answer: Response) -> None:
        shown = await self._worker.call(answer.call_id)
        if shown is None:
            assert answer.status >= 300 or answer.cseq.method != "INVITE"
            return
        if answer.status == 200 and "sdp_media" in extract:
            assert_offer(shown["offer"], extract["sdp_media"])
        if answer.status == 200 and "metadata" in extract:
            assert_metadata(shown, extract)
        if "legs" in extract:
            assert_legs(shown["legs"], extract["legs"])

    async def assert_one_recording(self, call_id: str) -> None:
        assert await self._worker.live_calls() == [call_id]


def assert_legs(shown: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    seen = [
        {name: leg[name] for name in wanted} for leg, wanted in zip(shown, expected, strict=True)
    ]
    assert seen == expected


def assert_offer(shown: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(shown) == len(expected)
    for line, wanted in zip(shown, expected, strict=True):
        for name in ("media", "port", "proto", "ip", "label", "ptime", "direction", "on_hold"):
            assert line[name] == wanted[name], name
        codecs = {codec["pt"]: codec for codec in line["codecs"]}
        for codec in wanted["codecs"]:
            if "name" in codec:
                seen = codecs[codec["pt"]]
                assert all(seen[k] == codec[k] for k in ("name", "rate", "fmtp") if k in codec)
        assert line["crypto_suites"] == [crypto["suite"] for crypto in wanted["crypto"]]


def assert_metadata(shown: dict[str, Any], extract: dict[str, Any]) -> None:
    expected, metadata = extract["metadata"], shown["metadata"]
    if expected is None:
        assert metadata is None
        assert any("metadata" in warning for warning in shown["warnings"])
        return
    assert metadata is not None
    if expected["datamode"] == "complete":
        for name, value in expected.items():
            assert without_notes(metadata[name]) == without_notes(value), name
        return
    merged = {party["id"]: party for party in metadata["participants"]}
    assert {party["id"] for party in expected["participants"]} <= set(merged)
    for party, sent in extract.get("merged_after", {}).items():
        for kind, labels in sent.items():
            assert set(merged[party][kind]) == set(labels)
    if "merged_participants_after" in extract:
        assert len(merged) == extract["merged_participants_after"]
    if "left" in extract:
        assert [p for p, party in merged.items() if "disassociate_time" in party] == extract["left"]


def without_notes(value: Any) -> Any:
    if isinstance(value, list):
        return [without_notes(entry) for entry in value]
    if isinstance(value, dict):
        return {name: entry for name, entry in value.items() if name != "note"}
    return value
