"""A PBX in memory for handoffs: does each step at once or fails it as told; scripted phones."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestrator.handoff.names import PlaybackId
from orchestrator.handoff.ports import ChannelGone, Sound
from orchestrator.handoff.registry import Registry
from orchestrator.model import (
    BridgeId,
    CallId,
    ChannelId,
    DialplanEntry,
    NodeName,
    Place,
    Target,
)


@dataclass(frozen=True, slots=True)
class Phone:
    """What an agent's phone does when it is dialled."""

    answers: bool = True
    sip_status: int = 0  # of a phone that does not answer; 0 = rings on
    q850_cause: int = 0
    key: str = ""  # pressed after answering


@dataclass
class FakePbx:
    """Implements handoff.ports.Telephony. `steps` tells what was done, in order."""

    phones: dict[Target, Phone] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    failing: dict[str, deque[Exception]] = field(default_factory=dict)
    slow: dict[str, asyncio.Event] = field(default_factory=dict)
    bridges: dict[BridgeId, set[ChannelId]] = field(default_factory=dict)
    up: set[ChannelId] = field(default_factory=set)
    in_dialplan: dict[ChannelId, DialplanEntry | None] = field(default_factory=dict)
    variables: dict[ChannelId, Mapping[str, str]] = field(default_factory=dict)
    said: list[Sound] = field(default_factory=list)
    briefings_last: bool = False
    phrases_last: bool = False
    registry: Registry | None = None

    def place(self, call: str, tenant: str = "acme") -> Place:
        """A call with caller and bot in one bridge."""
        place = Place(
            CallId(call),
            tenant,
            NodeName("asterisk"),
            ChannelId(f"caller-{call}"),
            ChannelId(f"bot-{call}"),
            BridgeId(f"vf-{call}"),
        )
        self.up |= {place.caller, place.bot}
        self.bridges[place.bridge] = {place.caller, place.bot}
        return place

    def fail(self, step: str, *errors: Exception) -> None:
        self.failing.setdefault(step, deque()).extend(errors)

    def bridge_of(self, channel: ChannelId) -> BridgeId | None:
        return next(
            (bridge for bridge, members in self.bridges.items() if channel in members), None
        )

    def caller_hangs_up(self, place: Place) -> None:
        self._gone(place.caller)
        self._registry.caller_left(place.call_id, hung_up=True)

    def agent_hangs_up(self, channel: ChannelId) -> None:
        self._gone(channel)
        self._registry.agent_lost(channel, 0, 16)

    # --- Telephony ------------------------------------------------------------------------------

    async def make_holding(self, node: NodeName, bridge: BridgeId, music: str) -> None:
        await self._step("make_holding", bridge)
        self.bridges.setdefault(bridge, set())

    async def hold(self, node: NodeName, caller: ChannelId, bridge: BridgeId, music: str) -> None:
        await self._step("hold", caller)
        self._move(caller, bridge)

    async def make_mix(self, node: NodeName, bridge: BridgeId) -> None:
        await self._step("make_mix", bridge)
        self.bridges.setdefault(bridge, set())

    async def dial(  # noqa: PLR0913 - the port's signature
        self,
        node: NodeName,
        channel: ChannelId,
        target: Target,
        *,
        caller: ChannelId,
        ring_seconds: float,
        variables: Mapping[str, str],
    ) -> None:
        await self._step("dial", channel)
        self.up.add(channel)
        self.variables[channel] = variables
        phone = self.phones.get(target, Phone())
        asyncio.get_running_loop().call_soon(self._ring, channel, phone)

    async def play(
        self, node: NodeName, channel: ChannelId, playback: PlaybackId, media: str
    ) -> None:
        await self._step("play", playback)

    async def stop_playing(self, node: NodeName, playback: PlaybackId) -> None:
        await self._step("stop_playing", playback)

    async def brief(
        self,
        node: NodeName,
        agent: ChannelId,
        bridge: BridgeId,
        sound: Sound,
        began: Callable[[], None],
    ) -> None:
        await self._step("brief", agent)
        self.bridges[bridge] = set()
        self._move(agent, bridge)
        began()
        self.said.append(sound)
        try:
            if self.briefings_last:
                await asyncio.Event().wait()
        finally:
            self.bridges.pop(bridge)

    async def whisper(self, node: NodeName, agent: ChannelId, sound: Sound) -> None:
        await self._step("whisper", agent)
        self.said.append(sound)

    async def tell(self, node: NodeName, caller: ChannelId, legs: ChannelId, sound: Sound) -> None:
        await self._step("tell", caller)
        self.said.append(sound)
        if self.phrases_last:
            await asyncio.Event().wait()

    async def add_agent(self, node: NodeName, channel: ChannelId, bridge: BridgeId) -> None:
        await self._step("add_agent", channel)
        self._move(channel, bridge)

    async def move_caller(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        await self._step("move_caller", caller)
        self._move(caller, bridge)

    async def return_to_bot(self, node: NodeName, caller: ChannelId, bridge: BridgeId) -> None:
        await self._step("return_to_bot", caller)
        self._move(caller, bridge)

    async def continue_in_dialplan(
        self,
        node: NodeName,
        caller: ChannelId,
        entry: DialplanEntry | None,
        *,
        variables: Mapping[str, str],
        music: str,
    ) -> None:
        await self._step("continue", caller)
        self._leave_bridges(caller)
        if caller not in self.up:
            raise ChannelGone(caller)
        self.in_dialplan[caller] = entry
        self.variables[caller] = variables

    async def start_music(self, node: NodeName, caller: ChannelId, music: str) -> None:
        await self._step("start_music", caller)

    async def hang_up(self, node: NodeName, channel: ChannelId) -> None:
        await self._step("hang_up", channel)
        if channel in self.up:
            self._gone(channel)
            self._registry.agent_lost(channel, 0, 16)

    async def destroy_bridge(self, node: NodeName, bridge: BridgeId) -> None:
        await self._step("destroy_bridge", bridge)
        self.bridges.pop(bridge, None)

    # --- how ------------------------------------------------------------------------------------

    @property
    def _registry(self) -> Registry:
        assert self.registry is not None
        return self.registry

    async def _step(self, step: str, what: str) -> None:
        if (gate := self.slow.get(step)) is not None:
            await gate.wait()
        await asyncio.sleep(0)
        self.steps.append(f"{step} {what}")
        if errors := self.failing.get(step):
            raise errors.popleft()

    def _ring(self, channel: ChannelId, phone: Phone) -> None:
        self._registry.agent_ringing(channel)
        if phone.answers:
            self._registry.agent_answered(channel)
            if phone.key:
                self._registry.agent_key(channel, phone.key)
        elif phone.sip_status or phone.q850_cause:
            self._gone(channel)
            self._registry.agent_lost(channel, phone.sip_status, phone.q850_cause)

    def _move(self, channel: ChannelId, bridge: BridgeId) -> None:
        if channel not in self.up:
            raise ChannelGone(channel)
        self._leave_bridges(channel)
        self.bridges[bridge].add(channel)

    def _gone(self, channel: ChannelId) -> None:
        self.up.discard(channel)
        self._leave_bridges(channel)

    def _leave_bridges(self, channel: ChannelId) -> None:
        for members in self.bridges.values():
            members.discard(channel)
