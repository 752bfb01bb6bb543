"""Metadata documents in the forms of many recording clients: namespaces, ids, associations."""

from __future__ import annotations

from typing import Final

from tests.integration.interop.forms.form import Form, both, offer

_A, _B, _C = "sip:+14155550100@carrier.example", "sip:5100@pbx.example", "sip:5200@pbx.example"
_RFC: Final = "urn:ietf:params:xml:ns:recording:1"
_TWO = (("1", "customer", _A), ("2", "pbx", _B))


def _form(name: str, document: str, **more: object) -> Form:
    labels = more.pop("labels", ("1", "2"))
    more.setdefault("legs", _TWO)
    description = offer(*labels)  # type: ignore[misc]
    return Form(name, both(description, document.encode()), **more)  # type: ignore[arg-type]


def _person(id_: str, aor: str, inside: str = "", name: str = "") -> str:
    named = f"<name>{name}</name>" if name else ""
    return f'<participant participant_id="{id_}"><nameID aor="{aor}">{named}</nameID>{inside}</participant>'  # noqa: E501


def _stream(id_: str, label: str, session: str = "s") -> str:
    return f'<stream stream_id="{id_}" session_id="{session}"><label>{label}</label></stream>'


def _joins(id_: str, inside: str) -> str:
    return f'<participantstreamassoc participant_id="{id_}">{inside}</participantstreamassoc>'


def _attends(id_: str, session: str, inside: str) -> str:
    return (
        f'<participantsessionassoc participant_id="{id_}" session_id="{session}">{inside}'
        "</participantsessionassoc>"
    )


_SESSION = '<session session_id="s"><sipSessionID>ab30317f;remote=f81d4fae</sipSessionID></session>'
_PEOPLE = _person("a", _A, name="Ann") + _person("b", _B)
_STREAMS = _stream("x", "1") + _stream("y", "2")
_SENDS = _joins("a", "<send>x</send><recv>y</recv>") + _joins("b", "<send>y</send><recv>x</recv>")
_JOINED_AT = "<associate-time>2026-01-01T00:00:00Z</associate-time>"
_LEFT_AT = "<disassociate-time>2026-01-01T00:01:00Z</disassociate-time>"


def _recording(*parts: str, namespace: str = _RFC, mode: str = "complete") -> str:
    content = "".join(parts)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<recording xmlns="{namespace}">'
        f"<datamode>{mode}</datamode>{content}</recording>"
    )


PLAIN = _recording(_SESSION, _PEOPLE, _STREAMS, _SENDS)
_DRAFT_PEOPLE = (
    f'<participant id="a" session="s"><aor>{_A}</aor><send>x</send><recv>y</recv></participant>'
    f'<participant id="b" session="s"><aor>{_B}</aor><send>y</send><recv>x</recv></participant>'
    '<stream id="x" session="s"><label>1</label></stream>'
    '<stream id="y" session="s"><label>2</label></stream>'
)
_APKT = 'xmlns:apkt="http://acmepacket.com/siprec/extensiondata"'


def _calling(truth: str) -> str:
    return (
        f"<extensiondata {_APKT}><apkt:callingParty>{truth}</apkt:callingParty>"
        "<apkt:ucid>0001;encoding=hex</apkt:ucid></extensiondata>"
    )


def _prefixed(document: str, prefix: str) -> str:
    for tag in ("recording", "datamode", "session", "sipSessionID", "participant", "nameID",
                "name", "stream", "label", "participantstreamassoc", "send", "recv"):  # fmt: skip
        document = document.replace(f"<{tag}>", f"<{prefix}:{tag}>")
        document = document.replace(f"<{tag} ", f"<{prefix}:{tag} ")
        document = document.replace(f"</{tag}>", f"</{prefix}:{tag}>")
    return document.replace("xmlns=", f"xmlns:{prefix}=")


METADATA: Final = (
    _form("plain, as the RFC has it", PLAIN, names=("Ann", "")),
    _form("prefixed throughout", _prefixed(PLAIN, "rec"), names=("Ann", "")),
    _form("single quotes and line breaks", PLAIN.replace('"', "'").replace("><", ">\r\n  <")),
    _form("one long line without declaration", PLAIN.partition("\n")[2]),
    _form("a byte order mark first", "\ufeff" + PLAIN),
    _form("comments and instructions", PLAIN.replace("<data", "<?x y?><!-- <stream/> --><data")),
    _form("a name in CDATA", PLAIN.replace("Ann", "<![CDATA[A & B]]>"), names=("A & B", "")),
    _form("blanks around every text", PLAIN.replace(">x<", ">\n x\n<").replace(">1<", "> 1 <")),
    _form("no datamode", PLAIN.replace("<datamode>complete</datamode>", "")),
    _form("dataMode", PLAIN.replace("datamode", "dataMode")),
    _form("a partial document first of all", PLAIN.replace("complete", "partial")),
    _form("namespace of the drafts", _recording(_SESSION, _DRAFT_PEOPLE, namespace=_RFC[:-2])),
    _form("namespace siprec", _recording(_SESSION, _DRAFT_PEOPLE,
                                         namespace="urn:ietf:params:xml:ns:siprec")),
    _form("namespace in capitals", PLAIN.replace("ns:recording", "ns:Recording")),
    _form("a vendor's own namespace", PLAIN.replace(_RFC, "http://vendor.example/recording")),
    _form("no namespace", PLAIN.replace(f' xmlns="{_RFC}"', "")),
    _form("names in camel case", PLAIN.replace("participantstreamassoc", "participantStreamAssoc")
          .replace("participant_id", "participantId").replace("stream_id", "streamId")
          .replace("session_id", "sessionId").replace("nameID", "nameId")),
    _form("calling party last, and said so", _recording(
        _SESSION, _person("b", _B, _calling("false")), _person("a", _A, _calling("true")),
        _STREAMS, _SENDS), extensions=("callingParty", "ucid")),
    _form("vendor's data inside the session", _recording(
        _SESSION.replace("</session>", '<v:callData xmlns:v="urn:v:1"><v:ani>4155550100</v:ani>'
                         "</v:callData></session>"),
        _PEOPLE, _STREAMS, _SENDS), extensions=("callData",)),
    _form("extension data of a telephony platform", _recording(
        _SESSION.replace("</session>", '<extensiondata><bw:recordingMetadata xmlns:bw="http://s.'
                         'example/rec"><bw:extTrackingID>7:1</bw:extTrackingID><bw:callType><bw:'
                         "origCall/></bw:callType></bw:recordingMetadata></extensiondata></session>"),
        _PEOPLE, _STREAMS, _SENDS), extensions=("recordingMetadata",)),
    _form("an association for each stream", _recording(
        _SESSION, _PEOPLE, _STREAMS, _joins("a", "<send>x</send>"), _joins("a", "<recv>y</recv>"),
        _joins("b", "<recv>x</recv>"), _joins("b", "<send>y</send>"))),
    _form("associations before what they join", _recording(_SENDS, _STREAMS, _PEOPLE, _SESSION)),
    _form("ids in base64 and braces", PLAIN.replace('"a"', '"{7e+/Aa==}"')
          .replace(">x<", ">6/zGeA==<").replace('"x"', '"6/zGeA=="')),
    _form("several groups", _recording(
        '<group group_id="g1"/><group group_id="g2"><associate-time/></group>',
        _SESSION.replace("<sip", "<group-ref>g2</group-ref><sip"), _PEOPLE, _STREAMS, _SENDS)),
    _form("a party in a second session that leaves the first", _recording(
        _SESSION, '<session session_id="t"/>', _PEOPLE, _STREAMS, _SENDS,
        _attends("b", "t", _JOINED_AT), _attends("b", "s", _JOINED_AT + _LEFT_AT))),
    _form("the same, told in the order of time", _recording(
        _SESSION, '<session session_id="t"/>', _PEOPLE, _STREAMS, _SENDS,
        _attends("b", "s", _JOINED_AT + _LEFT_AT),
        _attends("b", "t", _JOINED_AT.replace("00:00Z", "01:01Z")))),
    _form("a stream's sender of before", _recording(
        _SESSION, _PEOPLE, _person("c", _C), _STREAMS, _SENDS,
        _joins("b", "<send>y</send>" + _LEFT_AT), _joins("c", "<send>y</send>")),
        legs=(("1", "customer", _A), ("2", "pbx", _C))),
    _form("three parties on three streams", _recording(
        _SESSION, _PEOPLE, _person("c", _C), _STREAMS, _stream("z", "3"), _SENDS,
        _joins("c", "<send>z</send>")), labels=("1", "2", "3"),
        legs=(*_TWO, ("3", "pbx", _C))),
    _form("two of the house on one stream", _recording(
        _SESSION, _PEOPLE, _person("c", _C), _STREAMS, _SENDS, _joins("c", "<send>y</send>")),
        legs=(("1", "customer", _A), ("2", "pbx", "")), warning="mix"),
    _form("labels that are words", PLAIN.replace(">1<", ">main-audio<").replace(">2<", ">b leg<"),
          labels=("main-audio", "b leg"),
          legs=(("main-audio", "customer", _A), ("b leg", "pbx", _B))),
    _form("a telephone number as AOR", PLAIN.replace(_A, "tel:+14155550100;phone-context=x")
          .replace(_B, "5100"),
          legs=(("1", "customer", "tel:+14155550100;phone-context=x"), ("2", "pbx", "5100"))),
    _form("two names of one party", PLAIN.replace(
        "</nameID>", '</nameID><nameID aor="tel:+1"><name xml:lang="it">Anna</name></nameID>', 1)),
    _form("streams without anybody", _recording(_SESSION, _STREAMS), legs=(
        ("1", "customer", ""), ("2", "pbx", "")), warning="no label"),
    _form("people without streams", _recording(_SESSION, _PEOPLE), warning="no label"),
    _form("nothing but a session", _recording(_SESSION), legs=(
        ("1", "customer", ""), ("2", "pbx", "")), warning="no label"),
    _form("an unbound prefix", PLAIN.replace("</session>", "<ac:UCID>1</ac:UCID></session>")),
    _form("a bare ampersand in a name", PLAIN.replace("Ann", "Ann & Co"), names=("Ann & Co", "")),
    Form("called application/xml", both(offer("1", "2"), PLAIN.encode(), "application/xml"),
         legs=_TWO),
    Form("without +xml", both(offer("1", "2"), PLAIN.encode(), "application/rs-metadata"),
         legs=_TWO),
    Form("in Latin-1", both(offer("1", "2"), PLAIN.replace("UTF-8", "ISO-8859-1")
                            .replace("Ann", "Ännchen").encode("latin-1")),
         legs=_TWO, names=("Ännchen", "")),
)  # fmt: skip
