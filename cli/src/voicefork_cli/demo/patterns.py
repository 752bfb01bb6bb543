"""How the demo's caller is handed over: the rules that say so, and what should come of it."""

from __future__ import annotations

import json
from enum import Enum

from voicefork.handoff.v1 import handoff_pb2

QUEUE, DESK = "voicefork", "desk"
ACCEPT_KEY = "1"
RING_SECONDS = 6


class Pattern(Enum):
    """`--pattern`."""

    ATTENDED = "attended"
    WHISPER = "whisper"
    DIALPLAN = "dialplan"
    REFER = "refer"

    @property
    def title(self) -> str:
        """What happens to a caller whose agent is there."""
        return {
            Pattern.ATTENDED: "handed to a human",
            Pattern.WHISPER: "whispered to a human first",
            Pattern.DIALPLAN: "handed to the PBX's own queue",
            Pattern.REFER: "sent outside by REFER",
        }[self]

    def outcome(self, *, answers: bool) -> handoff_pb2.Outcome.ValueType:
        """What the handoff should end with; a queue takes whom nobody else takes."""
        if answers and self is not Pattern.DIALPLAN:
            return handoff_pb2.OUTCOME_CONNECTED
        return handoff_pb2.OUTCOME_QUEUED

    def routing(self, outside: str) -> str:
        """The orchestrator's rules (YAML). `outside`: the SIP address of the desk out there."""
        target, more = "PJSIP/agent-1", dict[str, str]()
        match self:
            case Pattern.WHISPER:
                more = {"pattern": "warm_whisper", "accept_key": ACCEPT_KEY}
            case Pattern.DIALPLAN:
                target, more = f"queue:{QUEUE}", {"pattern": "dialplan"}
            case Pattern.REFER:
                target, more = outside, {"pattern": "refer"}
            case Pattern.ATTENDED:
                pass
        document = {
            "version": 1,
            "default": {"targets": [target], "ring_seconds": RING_SECONDS},
            "rules": [{"name": "dispute", "use": "dispute", **more}],
        }
        return json.dumps(document, indent=1)  # JSON is YAML
