"""Session descriptions for tests."""

from __future__ import annotations

from collections.abc import Sequence

PCMU_AND_EVENTS = ("0 PCMU/8000", "101 telephone-event/8000")


def audio_line(  # noqa: PLR0913 - a line has this many parts
    label: str = "1",
    *,
    port: int = 40000,
    rtpmaps: Sequence[str] = PCMU_AND_EVENTS,
    direction: str = "sendonly",
    protocol: str = "RTP/AVP",
    extra: Sequence[str] = (),
) -> list[str]:
    """One audio m-line as rtpengine writes it, without its c=."""
    formats = " ".join(rtpmap.split()[0] for rtpmap in rtpmaps)
    return [
        f"m=audio {port} {protocol} {formats}",
        f"a=label:{label}",
        *(f"a=rtpmap:{rtpmap}" for rtpmap in rtpmaps),
        *([f"a={direction}"] if direction else []),
        *extra,
    ]


def sdp(*lines: Sequence[str], host: str = "127.0.0.3", version: int = 1) -> bytes:
    """A description of the given m-lines; two labelled audio lines if there are none."""
    media = lines or (audio_line("1"), audio_line("0", port=40002))
    head = ["v=0", f"o=- 7 {version} IN IP4 {host}", "s=test", f"c=IN IP4 {host}", "t=0 0"]
    body = [line for section in media for line in section]
    return "".join(f"{line}\r\n" for line in [*head, *body]).encode()
