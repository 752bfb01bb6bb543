from __future__ import annotations

from enum import IntEnum

import pytest
from voicefork.agent.v1 import agent_pb2 as pb
from voicefork.handoff.v1 import handoff_pb2
from voicefork_sdk import model

TWINS: list[tuple[type[IntEnum], str, dict[str, int]]] = [
    (model.Encoding, "ENCODING_", dict(pb.Encoding.items())),
    (model.Role, "ROLE_", dict(pb.Role.items())),
    (model.LegKind, "LEG_KIND_", dict(pb.LegKind.items())),
    (model.Consent, "CONSENT_", dict(pb.Consent.items())),
    (model.GapCause, "GAP_CAUSE_", dict(pb.GapCause.items())),
    (model.PlayStatus, "STATE_", dict(pb.PlayState.State.items())),
    (model.CallStatus, "STATE_", dict(pb.CallState.State.items())),
    (model.Party, "PARTY_", dict(pb.PartyChange.Party.items())),
    (model.PressureLevel, "LEVEL_", dict(pb.Pressure.Level.items())),
    (model.Severity, "SEVERITY_", dict(pb.Notice.Severity.items())),
    (model.CloseReason, "REASON_", dict(pb.Close.Reason.items())),
    (model.Barge, "BARGE_", dict(pb.Barge.items())),
    (model.Audience, "AUDIENCE_", dict(pb.Audience.items())),
    (model.Phase, "PHASE_", dict(handoff_pb2.Phase.items())),
    (model.Outcome, "OUTCOME_", dict(handoff_pb2.Outcome.items())),
]


@pytest.mark.parametrize(("ours", "prefix", "theirs"), TWINS, ids=lambda one: str(one)[:24])
def test_enums_are_those_of_the_contract(
    ours: type[IntEnum], prefix: str, theirs: dict[str, int]
) -> None:
    assert {prefix + one.name: one.value for one in ours} == theirs


def test_a_value_of_a_later_version_reads_as_unspecified() -> None:
    assert model.Phase(99) is model.Phase.UNSPECIFIED


def test_a_format_knows_its_durations() -> None:
    assert model.PCM_16K.size(20) == 640
    assert model.ULAW.duration_ms(160) == 20
