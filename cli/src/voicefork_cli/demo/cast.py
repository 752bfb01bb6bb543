"""Everybody the demo needs, started in order: stack, edge, caller and the agent's phone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from voicefork_cli.demo.carrier import Forwarding
from voicefork_cli.demo.patterns import DESK, QUEUE, Pattern
from voicefork_cli.lab.asterisk import AsteriskPlan
from voicefork_cli.lab.errors import MissingProgramError
from voicefork_cli.lab.processes import Lab
from voicefork_cli.lab.stack import Progress, Stack, StackPlan, open_stack
from voicefork_cli.measure.packets import Packet, Sent
from voicefork_cli.sim.caller import CarrierCaller, open_caller
from voicefork_cli.sim.edge import Edge, open_edge
from voicefork_cli.sim.edge_call import EdgePlan
from voicefork_cli.sim.phone import AgentPhone, open_phone
from voicefork_cli.sim.source import Tone

CALLER_HZ, AGENT_HZ, MUSIC_HZ = 440, 600, 350
RECEPTIONIST = Path("sdk/examples/receptionist.py")


@dataclass(frozen=True, slots=True)
class Cast:
    stack: Stack
    edge: Edge
    caller: CarrierCaller
    phone: AgentPhone
    second: CarrierCaller  # the caller's leg to a desk outside, once a REFER was followed

    @property
    def heard(self) -> list[Packet]:
        """By the caller, on whichever leg they are."""
        first, second = self.caller.heard, self.second.heard
        moved = second[0].arrival_ns if second else None
        return [*(p for p in first if moved is None or p.arrival_ns < moved), *second]

    @property
    def said(self) -> list[Sent]:
        first, second = self.caller.said, self.second.said
        moved = second[0].sent_ns if second else None
        return [*(p for p in first if moved is None or p.sent_ns < moved), *second]

    @property
    def ended_ns(self) -> int | None:
        """When the caller was gone."""
        return self.second.ended_ns if self.second.heard else self.caller.ended_ns

    def vendor_lines(self) -> list[dict[str, object]]:
        """What the AI vendor wrote about its calls: one JSON object a line."""
        lines = self.stack.agent.program.log_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def example(script: Path) -> Path:
    """A file of the checkout. Raises MissingProgramError outside of one."""
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        if (folder / script).is_file():
            return folder / script
    raise MissingProgramError(str(script), "run the demo from a checkout of Voicefork")


@asynccontextmanager
async def open_cast(
    lab: Lab, progress: Progress, pattern: Pattern = Pattern.ATTENDED
) -> AsyncIterator[Cast]:
    """Raises LabError when something is missing or does not start."""
    async with AsyncExitStack() as stack:
        outside = pattern is Pattern.REFER
        phone = await stack.enter_async_context(
            open_phone(DESK if pattern is Pattern.REFER else "agent-1")
        )
        members = () if outside else ("agent-1",)  # the desk is outside
        asterisk = AsteriskPlan(agents={"agent-1": phone.uri}, queues={QUEUE: members}, record=True)
        rules = lab.folder / "routing.yaml"
        rules.write_text(pattern.routing(phone.uri))
        plan = StackPlan(
            agent_script=example(RECEPTIONIST),
            asterisk=asterisk,
            orchestrator_options=("--routing", str(rules)),
        )
        running = await stack.enter_async_context(open_stack(lab, plan, progress))

        async def pick() -> list[str]:
            return list(running.worker_uris)

        progress("edge and caller")
        edge_plan = EdgePlan(pbx=f"sip:{running.asterisk.sip}", pick=pick)
        ng = (running.rtpengine.host, running.rtpengine.port)
        edge = await stack.enter_async_context(open_edge(edge_plan, ng))
        caller = await stack.enter_async_context(open_caller())
        second = await stack.enter_async_context(open_caller())
        caller.referral = Forwarding(second=second, source=Tone(CALLER_HZ))
        stack.push_async_callback(caller.referral.close)
        yield Cast(running, edge, caller, phone, second)
