"""What we ask of Asterisk about bridges and playbacks."""

from __future__ import annotations

from orchestrator.ari.rest import AriRest

MIXING = "mixing,dtmf_events,proxy_media"
"""Type of every bridge people talk in. Plain `mixing` would let two SIP legs' RTP past the core
(native_rtp): music then mixes with the other party's voice, and DTMF gives no events."""

HOLDING = "holding"


class Bridges:
    """Part of ari.client.AriClient."""

    _rest: AriRest

    async def create_bridge(self, bridge_id: str, kind: str = MIXING, name: str = "") -> None:
        """Raises Conflict: a bridge of that id exists (Asterisk 22.10)."""
        params = {"type": kind, "name": name}
        await self._rest.request("POST", "bridges", bridge_id, params=params)

    async def destroy_bridge(self, bridge_id: str) -> None:
        await self._rest.request("DELETE", "bridges", bridge_id)

    async def add_to_bridge(
        self,
        bridge_id: str,
        channel_id: str,
        *,
        inhibit_connected_line: bool = True,
        absorb_dtmf: bool = False,
        role: str = "",
    ) -> None:
        """Adds a channel, moving it out of its bridge if it is in one.

        `inhibit_connected_line` saves the other leg a re-INVITE. A holding bridge sends no RTP to
        a channel without `role=holding_participant` unless the bridge itself has music.
        """
        params = {"channel": channel_id}
        if inhibit_connected_line:
            params["inhibitConnectedLineUpdates"] = "true"
        if absorb_dtmf:
            params["absorbDTMF"] = "true"
        if role:
            params["role"] = role
        await self._rest.request("POST", "bridges", bridge_id, "addChannel", params=params)

    async def start_bridge_music(self, bridge_id: str, music_class: str = "") -> None:
        params = {"mohClass": music_class} if music_class else None
        await self._rest.request("POST", "bridges", bridge_id, "moh", params=params)

    # --- playbacks --------------------------------------------------------------------------

    async def play(self, channel_id: str, playback_id: str, media: str) -> None:
        """Plays "sound:...", "tone:..." (its parts parted by `|`, as `,` parts media) and so on.

        A playback on a channel outside a bridge delays `add_to_bridge` until it has ended.
        """
        params = {"media": media}
        await self._rest.request("POST", "channels", channel_id, "play", playback_id, params=params)

    async def stop_playback(self, playback_id: str) -> None:
        await self._rest.request("DELETE", "playbacks", playback_id)
