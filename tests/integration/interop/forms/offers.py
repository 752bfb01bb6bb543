"""Offers in the forms of many recording clients: codecs, addresses, profiles, attributes."""

from __future__ import annotations

import base64
from typing import Final

from tests.integration.interop.forms.form import SDP_TYPE, Form

_KEY_30 = base64.b64encode(bytes(range(30))).decode()
_KEY_44 = base64.b64encode(bytes(range(44))).decode()
_AES_80 = f"AES_CM_128_HMAC_SHA1_80 inline:{_KEY_30}"
_BY_ORDER = (("1", "customer", ""), ("2", "pbx", ""))
_HEAD = "v=0|o=SRC 1 1 IN IP4 127.0.0.3|s=-|c=IN IP4 127.0.0.3|t=0 0|"
_SECOND = "m=audio 40002 RTP/AVP 0|a=sendonly|a=label:2"


def _form(name: str, text: str, **more: object) -> Form:
    """`text`: lines divided by | (¦ stands for that).

    A second plain line follows unless there is an m-line already.
    """
    text = text if text.startswith("v=") else _HEAD + text
    if text.count("m=") == 1:
        text += "|" + _SECOND
    more.setdefault("legs", _BY_ORDER)
    body = text.replace("|", "\r\n").replace("¦", "|").encode() + b"\r\n"
    return Form(name, body, (SDP_TYPE,), **more)  # type: ignore[arg-type]


def _line(after: str, formats: str = "0", protocol: str = "RTP/AVP") -> str:
    return f"m=audio 40000 {protocol} {formats}|{after}|a=sendonly|a=label:1"


_ALL_STATIC = "0 8 9 3 4 18 13 101"
_PCMU = ("PCMU",)
_REFUSED: Final = (("2", "unknown", ""),)  # the second line alone

OFFERS: Final = (
    _form("many static types without rtpmap", _line("i=x", _ALL_STATIC),
          codecs=("PCMU", "PCMA", "G722", "CN")),
    _form("encodings in lower case with channels", _line("a=rtpmap:0 pcmu/8000/1"),
          codecs=("pcmu",)),
    _form("a dynamic type for G.711", _line("a=rtpmap:118 PCMA/8000", "118"), codecs=("PCMA",)),
    _form("a rtpmap without rate", _line("a=rtpmap:0 PCMU|a=rtpmap:101 telephone-event", "0 101"),
          codecs=("PCMU", "telephone-event")),
    _form("G.722 at its true rate", _line("a=rtpmap:9 G722/16000", "9"), codecs=("G722",)),
    _form("Opus without channels", _line("a=rtpmap:111 opus/48000", "111"), codecs=("opus",)),
    _form("Opus and keys at 48 kHz",
          _line("a=rtpmap:111 OPUS/48000/2|a=fmtp:111 minptime=10;useinbandfec=1|"
                "a=rtpmap:110 telephone-event/48000|a=fmtp:110 0-15", "111 110"),
          codecs=("OPUS", "telephone-event")),
    _form("keys at 97 with a long fmtp",
          _line("a=rtpmap:97 telephone-event/8000|a=fmtp:97 0-15,32-36,54", "0 97"),
          codecs=("PCMU", "telephone-event")),
    _form("a dynamic type that is never explained", _line("i=x", "0 96 127"), codecs=_PCMU),
    _form("L16 at 16 kHz", _line("a=rtpmap:98 L16/16000", "98"), codecs=("L16",)),
    _form("stereo L16 on one line", _line("a=rtpmap:10 L16/44100/2", "10"),
          legs=_REFUSED, ports=(False, True)),
    _form("only G.729 on one line", _line("a=fmtp:18 annexb=no", "18"),
          legs=_REFUSED, ports=(False, True)),
    _form("only keys on one line", _line("a=rtpmap:101 telephone-event/8000", "101"),
          legs=_REFUSED, ports=(False, True)),
    _form("nothing that can be taken", _HEAD + "m=audio 1 RTP/AVP 18|m=audio 3 RTP/AVP 4",
          status=488),
    _form("only video", _HEAD + "m=video 1 RTP/AVP 31|m=application 3 UDP/BFCP *", status=488),
    _form("video beside audio", _HEAD + "m=video 41000 RTP/AVP 31|a=label:9|"
          + _line("i=x") + "|" + _SECOND, ports=(False, True, True)),
    _form("text and fax beside audio", _line("i=x") + "|" + _SECOND
          + "|m=text 5 RTP/AVP 98|m=image 7 udptl t38", ports=(True, True, False, False)),
    _form("a line with port 0", _HEAD + "m=audio 0 RTP/AVP 0|a=label:1|" + _SECOND,
          legs=_REFUSED, ports=(False, True)),
    _form("every line with port 0", _HEAD + "m=audio 0 RTP/AVP 0|a=label:1|m=audio 0 RTP/AVP 0",
          legs=(), ports=(False, False)),
    _form("c= of each line, none of the session",
          "v=0|o=- 1 1 IN IP4 127.0.0.9|s=|t=0 0|m=audio 40000 RTP/AVP 0|c=IN IP4 127.0.0.3|"
          "b=AS:80|a=sendonly|a=label:1|m=audio 40002 RTP/AVP 0|c=IN IP4 127.0.0.4|a=label:2"),
    _form("direction of the session", "a=sendonly|m=audio 40000 RTP/AVP 0|a=label:1|"
          "m=audio 40002 RTP/AVP 0|a=label:2"),
    _form("inactive for now", _line("i=x").replace("sendonly", "inactive")),
    _form("no direction at all", _line("i=x").replace("|a=sendonly", "")),
    _form("bandwidths and other lines of the RFC",
          "v=0|o=- 1 1 IN IP4 127.0.0.3|s= |i=call|u=http://x|e=a@b|p=+1|c=IN IP4 127.0.0.3|"
          "b=AS:64|b=TIAS:64000|b=RR:0|t=0 0|r=7d 1h 0|a=tool:x|" + _line("b=RS:0")),
    _form("two times and a key of the session", _HEAD + "t=1 2|k=clear:x|" + _line("i=x")),
    _form("bundle, mux, ICE", "a=group:BUNDLE 0 1|a=ice-lite|a=msid-semantic: WMS|"
          + _line("a=mid:0|a=rtcp-mux|a=ice-ufrag:x|a=ice-pwd:0123456789012345678901|"
                  "a=candidate:1 1 UDP 2130706431 127.0.0.3 40000 typ host", "0")),
    _form("rtcp elsewhere", _line("a=rtcp:41001 IN IP4 127.0.0.3")),
    _form("AVPF with feedback", _line("a=rtcp-fb:* nack|a=rtcp-fb:0 ccm fir", "0", "RTP/AVPF")),
    _form("several a=crypto, lifetime and MKI",
          _line(f"a=crypto:1 AES_256_CM_HMAC_SHA1_80 inline:{_KEY_44}AA==|"
                f"a=crypto:2 {_AES_80}¦2^31¦1:4|a=crypto:3 AES_CM_128_HMAC_SHA1_32 "
                f"inline:{_KEY_30}¦2^20", "0", "RTP/SAVP"), codecs=_PCMU),
    _form("GCM first", _line(f"a=crypto:7 AEAD_AES_256_GCM inline:{_KEY_44}", "0", "RTP/SAVPF")),
    _form("SAVP without a key", _line("i=x", "0", "RTP/SAVP"), legs=_REFUSED, ports=(False, True)),
    _form("keys by DTLS", _line("a=fingerprint:sha-256 00:11|a=setup:actpass", "0",
                                "UDP/TLS/RTP/SAVP"), legs=_REFUSED, ports=(False, True)),
    _form("a=crypto under plain RTP", _line(f"a=crypto:1 {_AES_80}"), codecs=_PCMU),
    _form("profile in lower case", _line("i=x", "0", "rtp/avp")),
    _form("ptime after everything, maxptime", _line("a=maxptime:150") + "|a=ptime:30"),
    _form("a port with a count", _line("i=x").replace("40000", "40000/2")),
    _form("label before the rtpmaps", "m=audio 40000 RTP/AVP 8 0|a=label:1|a=sendonly|"
          "a=rtpmap:8 PCMA/8000|a=rtpmap:0 PCMU/8000", codecs=("PCMA", "PCMU")),
    _form("blanks at the ends of lines", _line("a=rtpmap:0 PCMU/8000 ").replace("|", " |")),
    _form("an empty line between", _line("i=x").replace("|a=label", "||a=label")),
    _form("attributes in capitals", _line("a=RTPMAP:96 PCMA/8000", "96").replace("send", "Send")
          .replace("a=label", "a=LABEL"), codecs=("PCMA",)),
    _form("zeros at the end", _line("i=x") + "|" + _SECOND + "|\0\0\0"),
    _form("recording attributes", _line("a=record:on|a=recordpref:on")),
    _form("IPv6 within IPv4", _line("c=IN IP6 ::1"), sources=("127.0.0.3", "127.0.0.3")),
    _form("nothing but IPv6 within IPv4", _HEAD.replace("IP4 127.0.0.3", "IP6 2001:db8::9")
          + _line("i=x"), sources=("127.0.0.1", "127.0.0.1")),
    _form("no labels", (_line("i=x") + "|" + _SECOND).replace("a=label", "a=x-label"),
          legs=(("", "customer", ""), ("", "pbx", ""))),
)  # fmt: skip
