"""The audio lines of a session description: all that a phone and a recorder's client need."""

from __future__ import annotations

import re
from dataclasses import dataclass

from voicefork_cli.sim.errors import WireError

TELEPHONE_EVENT = 101
_STATIC = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 18: "G729/8000"}
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}
_DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
_SECTION = re.compile(r"(?m)^(?=m=)")


@dataclass(frozen=True, slots=True)
class AudioLine:
    """One m=audio: where its receiver is, what it takes, and its label (RFC 4574)."""

    host: str
    port: int
    payload_types: tuple[int, ...]
    codecs: tuple[str, ...]  # "PCMU/8000", in the order of payload_types; "" unknown
    direction: str = "sendrecv"
    label: str = ""

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def audio_lines(sdp: bytes) -> list[AudioLine]:
    """The m=audio lines in order. Raises WireError where there is no address or no port."""
    session, *sections = _SECTION.split(sdp.decode("utf-8", "replace"))
    return [_line(session, section) for section in sections if section.startswith("m=audio")]


def _line(session: str, section: str) -> AudioLine:
    first = re.match(r"m=audio (\d+)\S* \S+ ([\d ]+)", section)
    host = re.search(r"(?m)^c=IN IP[46] (\S+)", section) or re.search(
        r"(?m)^c=IN IP[46] (\S+)", session
    )
    if first is None or host is None:
        raise WireError(f"no audio address in {section[:80]!r}")
    types = tuple(int(each) for each in first[2].split())
    maps = {int(t): c for t, c in re.findall(r"(?m)^a=rtpmap:(\d+) (\S+)", section)}
    direction = [d for d in _DIRECTIONS if re.search(rf"(?m)^a={d}\s*$", section)]
    direction += [d for d in _DIRECTIONS if re.search(rf"(?m)^a={d}\s*$", session)]
    label = re.search(r"(?m)^a=label:(\S+)", section)
    return AudioLine(
        host[1],
        int(first[1]),
        types,
        tuple(maps.get(t, _STATIC.get(t, "")) for t in types),
        direction[0] if direction else "sendrecv",
        label[1] if label else "",
    )


def missing_codecs(offer: AudioLine, answer: AudioLine) -> list[str]:
    """Codecs of the offer that the answer lacks: rtpengine 10.5 refuses a fork for any of them."""
    return [codec for codec in offer.codecs if codec not in answer.codecs]


def phone_sdp(
    address: tuple[str, int], codec: str, *, direction: str = "sendrecv", version: int = 1
) -> bytes:
    """What a telephone offers or answers: one codec and RFC 4733 digits."""
    host, port = address
    kind = PAYLOAD_TYPES[codec]
    return _crlf(
        "v=0",
        f"o=- {port} {version} IN IP4 {host}",
        "s=-",
        f"c=IN IP4 {host}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {kind} {TELEPHONE_EVENT}",
        f"a=rtpmap:{kind} {codec}/8000",
        f"a=rtpmap:{TELEPHONE_EVENT} telephone-event/8000",
        f"a=fmtp:{TELEPHONE_EVENT} 0-16",
        "a=ptime:20",
        f"a={direction}",
    )


def fork_sdp(lines: list[AudioLine], session: int) -> bytes:
    """The offer of a fork as rtpengine 10.5 writes it (captured from OpenSIPS 3.6.8)."""
    text = [
        "v=0",
        f"o=- {session} {session} IN IP4 {lines[0].host}",
        "s=rtpengine-10-5-3-5-1-deb12u1",
        "t=0 0",
    ]
    for line in lines:
        text += [
            f"m=audio {line.port} RTP/AVP {' '.join(map(str, line.payload_types))}",
            f"c=IN IP4 {line.host}",
            f"a=label:{line.label}",
            *(
                f"a=rtpmap:{kind} {codec}"
                for kind, codec in zip(line.payload_types, line.codecs, strict=True)
            ),
            "a=sendonly",
            f"a=rtcp:{line.port + 1}",
            "a=ptime:20",
        ]
    return _crlf(*text)


def _crlf(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()
