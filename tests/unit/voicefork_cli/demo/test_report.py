"""The page: self-contained, whole, and safe against what the call brings."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from voicefork_cli.demo.drawing import peaks
from voicefork_cli.demo.report import Report, write_report
from voicefork_cli.demo.rows import Figure
from voicefork_cli.demo.spans import Span
from voicefork_cli.demo.timeline import Moment
from voicefork_cli.measure.pcm import tone
from voicefork_cli.sim.wav import write_stereo

from tests.unit.voicefork_cli.measure.made import at

EVIL = "<script>alert('x')</script>\"&"
UNCLOSED = {"meta", "br", "path"}


class Balanced(HTMLParser):
    """Fails on tags that are not closed in order; keeps what is read as script."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]
        if tag not in UNCLOSED:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in UNCLOSED:
            assert self.open.pop() == tag


def read(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def report(tmp_path: Path) -> Report:
    write_stereo(tmp_path / "call.wav", tone(440, 16000), tone(350, 32000))
    return Report(
        title="A call",
        wav=(tmp_path / "call.wav").read_bytes(),
        zero_ns=at(0),
        moments=[
            Moment(at(-9), "lab", "everything runs"),
            Moment(at(-0.01), "caller", "dials +1"),
            Moment(at(0.5), "bot", "said Hello & welcome"),
            Moment(at(1), "bot", "escalated dispute"),
            Moment(at(2), "handoff", "CONNECTED (CONNECTED)"),
        ],
        heard=[Span(0.0, 1.0, "bot"), Span(1.0, 4.0, "music")],
        handoff=[Span(1.0, 4.0, "CONNECTED")],
        figures=[
            Figure("dead air during the whole handoff", "0 ms (missing 0 + silent 0)", True),
            Figure("longest gap between packets", "24 ms"),
        ],
        facts=[("Python", "3.11")],
    )


def test_the_page_is_whole_and_needs_nothing_from_outside(report: Report) -> None:
    page = read(write_report(report))
    assert page.scripts == 1
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"https?://|@import|url\(", write_report(report))
    assert "@" not in re.sub(r"@media[^{]*\{", "", write_report(report))  # every place is filled


def test_the_recording_is_in_the_page(report: Report) -> None:
    found = re.search(r"data:audio/wav;base64,([^\"]+)", write_report(report))
    assert found is not None
    assert base64.b64decode(found[1]) == report.wav


def test_no_text_of_the_call_becomes_markup(report: Report) -> None:
    evil = replace(
        report,
        title=EVIL,
        moments=[
            Moment(at(1), who, f"{word} {EVIL}")
            for who in ("caller", "bot", "agent", "screen", "handoff", EVIL)
            for word in ("said", "heard", "escalated", "shows:", "CONNECTED", "")
        ],
        handoff=[Span(0.0, 4.0, EVIL)],
        figures=[Figure(EVIL, EVIL, True), Figure("longest gap between packets", EVIL)],
        facts=[(EVIL, EVIL)],
    )
    page = write_report(evil)
    assert read(page).scripts == 1
    assert EVIL not in page


def test_a_place_of_the_template_in_a_text_stays_text(report: Report) -> None:
    assert "@WAV@" in write_report(replace(report, title="@WAV@"))


@pytest.mark.parametrize(
    ("good", "verdict"), [(True, "all figures as demanded"), (False, "not as demanded")]
)
def test_the_verdict_is_the_figures(report: Report, good: bool, verdict: str) -> None:
    page = write_report(replace(report, figures=[Figure("outcome", "CONNECTED", good)]))
    assert f'">{verdict}</span>' in page


def test_what_came_before_the_call_is_left_out(report: Report) -> None:
    page = write_report(report)
    assert "everything runs" not in page
    assert "dials +1" in page


def test_a_call_without_handoff_headlines_or_spans_is_a_page_as_well(report: Report) -> None:
    bare = replace(report, heard=[], handoff=[], figures=[], facts=[], moments=[])
    page = write_report(bare)
    read(page)
    assert ">Handoff<" not in page


def test_phases_lie_where_they_were_heard(report: Report) -> None:
    page = write_report(report)
    assert 'class="music" style="left:25.000%;width:75.000%"' in page
    assert 'class="bot" style="left:0.000%;width:25.000%"' in page


def test_a_peak_is_the_loudest_sample_of_its_part() -> None:
    pcm = np.array([0, -32768, 0, 16384], np.int16)
    assert peaks(pcm, 2) == [1.0, 0.5]


def test_nothing_recorded_has_no_peaks() -> None:
    assert peaks(np.zeros(0, np.int16), 3) == [0.0, 0.0, 0.0]
