"""a=crypto: what is taken, what refuses the line, and whose key is whose."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from siprec_worker.errors import OfferRejected, SdpError
from siprec_worker.protocol.codecs import PCMU, Capabilities
from siprec_worker.protocol.offer_answer import (
    Answer,
    accepted_lines,
    answer,
    first_offer,
    recordable_lines,
    reoffer,
)
from siprec_worker.protocol.sdes import (
    KEY_AND_SALT_BYTES,
    CryptoAttribute,
    agreed_keys,
    answering_crypto,
    parse_crypto,
    usable_crypto,
)
from siprec_worker.protocol.sdp import SessionDescription, parse_sdp

from tests.builders.sdp import audio_line, sdp

CM_80, CM_32 = "AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32"
KEY = bytes(range(30))
INLINE = "inline:" + base64.b64encode(KEY).decode()
SECURE = Capabilities((PCMU,), srtp=True)


def secure_offer(*crypto: str, protocol: str = "RTP/SAVP", port: int = 40000) -> bytes:
    extra = [f"a=crypto:{value}" for value in crypto]
    line = audio_line(protocol=protocol, rtpmaps=("0 PCMU/8000",), extra=extra, port=port)
    return sdp(line)


def answered(body: bytes, previous: SessionDescription | None = None) -> Answer:
    return answer(parse_sdp(body), SECURE, "127.0.0.1", {0: 30000}, previous=previous)


@pytest.mark.parametrize("rest", ["", "|2^20", "|1048576", "|2^31|1:4", "|1:4"])
def test_lifetime_and_mki_may_follow_the_key(rest: str) -> None:
    crypto = parse_crypto(f"1 {CM_80} {INLINE}{rest}")
    assert (crypto.tag, crypto.suite, crypto.key) == (1, CM_80, KEY)
    assert crypto.mki_bytes == (4 if rest.endswith("1:4") else 0)


@pytest.mark.parametrize(
    "value",
    [
        "",
        f"1 {CM_80}",
        f"x {CM_80} {INLINE}",
        f"1 F8_128_HMAC_SHA1_80 {INLINE}",
        f"1 {CM_80} uri:{INLINE}",
        f"1 {CM_80} {INLINE[:-4]}",
        f"1 {CM_80} inline:!!!!",
        f"1 {CM_80} {INLINE};{INLINE}",
        f"1 {CM_80} {INLINE} UNENCRYPTED_SRTP",
        f"1 {CM_80} {INLINE} KDR=5",
        f"1 {CM_80} {INLINE}|nonsense",
        f"1 {CM_80} {INLINE}|2^20|2^20",
        f"1 {CM_80} {INLINE}|1:0",
        f"1 {CM_80} {INLINE}|1:129",
    ],
)
def test_what_cannot_be_served_refuses_its_line(value: str) -> None:
    with pytest.raises(SdpError):
        parse_crypto(value)


@pytest.mark.parametrize("value", [f"1 {CM_80} {INLINE} WSH=128", f"1 {CM_80} {INLINE} -what=1"])
def test_hints_are_ignored(value: str) -> None:
    assert parse_crypto(value).key == KEY


def test_base64_may_lack_its_padding() -> None:
    key = bytes(28)
    text = base64.b64encode(key).decode().rstrip("=")
    assert parse_crypto(f"1 AEAD_AES_128_GCM inline:{text}").key == key


@given(st.sampled_from(sorted(KEY_AND_SALT_BYTES)), st.integers(0, 999_999_999), st.data())
def test_what_is_written_reads_the_same(suite: str, tag: int, data: st.DataObject) -> None:
    size = KEY_AND_SALT_BYTES[suite]
    crypto = CryptoAttribute(tag, suite, data.draw(st.binary(min_size=size, max_size=size)))
    assert parse_crypto(crypto.encode()) == crypto


@given(st.text(max_size=80) | st.from_regex(r"\d{1,3} [A-Z0-9_]{4,30} inline:[\w+/=|:^]{0,70}"))
def test_any_text_gives_an_attribute_or_an_sdp_error(value: str) -> None:
    try:
        parse_crypto(value)
    except SdpError:
        return


def test_the_answer_has_one_offered_tag_and_a_key_of_its_own() -> None:
    media = answered(secure_offer(f"1 F8_128_HMAC_SHA1_80 {INLINE}", f"2 {CM_32} {INLINE}"))
    (crypto,) = usable_crypto(media.sdp.media[0].crypto)
    assert (crypto.tag, crypto.suite) == (2, CM_32)
    assert crypto.key != KEY
    assert media.sdp.media[0].protocol == "RTP/SAVP"
    keys = media.lines[0].keys
    assert keys is not None
    assert (keys.suite, keys.theirs, keys.ours) == (CM_32, KEY, crypto.key)


def test_feedback_profile_is_answered_as_it_was_offered() -> None:
    media = answered(secure_offer(f"1 {CM_80} {INLINE}", protocol="RTP/SAVPF"))
    assert media.sdp.media[0].protocol == "RTP/SAVPF"


def test_a_reoffer_keeps_our_key() -> None:
    first = answered(secure_offer(f"1 {CM_80} {INLINE}"))
    again = answered(secure_offer(f"7 {CM_80} {INLINE}"), previous=first.sdp)
    before, after = first.lines[0].keys, again.lines[0].keys
    assert before is not None
    assert after is not None
    assert before.ours == after.ours
    assert usable_crypto(again.sdp.media[0].crypto)[0].tag == 7


def test_another_suite_needs_another_key() -> None:
    first = answered(secure_offer(f"1 {CM_80} {INLINE}"))
    again = answered(secure_offer(f"1 {CM_32} {INLINE}"), previous=first.sdp)
    keys = first.lines[0].keys, again.lines[0].keys
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].ours != keys[1].ours


@pytest.mark.parametrize("crypto", [(), ("1 NO_SUCH_SUITE inline:AAAA",)])
def test_a_secure_line_without_a_usable_key_cannot_be_recorded(crypto: tuple[str, ...]) -> None:
    with pytest.raises(OfferRejected):
        recordable_lines(parse_sdp(secure_offer(*crypto)), SECURE)


def test_a_worker_without_srtp_refuses_a_secure_line() -> None:
    with pytest.raises(OfferRejected):
        recordable_lines(
            parse_sdp(secure_offer(f"1 {CM_80} {INLINE}")), Capabilities((PCMU,), srtp=False)
        )


def test_keys_offered_on_an_open_line_are_left_alone() -> None:
    media = answered(secure_offer(f"1 {CM_80} {INLINE}", protocol="RTP/AVP"))
    assert media.sdp.media[0].crypto == []
    assert media.lines[0].keys is None


def test_our_own_offer_again_keeps_the_key_and_takes_theirs() -> None:
    first = answered(secure_offer(f"1 {CM_80} {INLINE}"))
    ours = reoffer(first.sdp, "127.0.0.1", {0: 30000}, 2)
    their_key = bytes(30)
    theirs = secure_offer(f"1 {CM_80} inline:{base64.b64encode(their_key).decode()}")
    (line,) = accepted_lines(ours, parse_sdp(theirs))
    assert line.keys is not None
    assert line.keys.theirs == their_key


def test_a_first_offer_is_not_protected() -> None:
    assert first_offer("127.0.0.1", [30000], SECURE).media[0].crypto == []


def test_sides_that_name_different_tags_agreed_on_nothing() -> None:
    assert agreed_keys([f"1 {CM_80} {INLINE}"], [f"2 {CM_80} {INLINE}"]) is None


def test_keys_are_not_written_into_logs() -> None:
    line = answered(secure_offer(f"1 {CM_80} {INLINE}")).lines[0]
    assert line.keys is not None
    assert repr(KEY) not in repr(line)
    assert repr(line.keys.ours) not in repr(line)


def test_no_key_is_made_up_for_nothing() -> None:
    with pytest.raises(SdpError):
        answering_crypto([])
