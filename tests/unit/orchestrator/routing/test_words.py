"""Whole words in what was said, and ranges of languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orchestrator.routing.words import Said, by_language, language_fits, wanted_words


@pytest.mark.parametrize(
    ("text", "phrase", "has"),
    [
        ("I DISPUTE this!", "dispute", True),
        ("that is indisputable", "dispute", False),
        ("charge-back, please", "charge back", True),
        ("charge it back", "charge back", False),
        ("die Rückbuchung", "rückbuchung", True),
        ("STRASSE", "straße", True),
        ("不正な請求です", "不正", True),
        ("", "dispute", False),
    ],
)
def test_whole_words_in_any_letter_case(text: str, phrase: str, has: bool) -> None:
    assert Said([text]).has(phrase) is has


def test_a_phrase_does_not_run_from_one_line_into_the_next() -> None:
    assert not Said(["what a charge", "back then"]).has("charge back")


@given(st.lists(st.text(max_size=20), max_size=4), st.text(max_size=10))
def test_any_texts_can_be_asked_for_any_phrase(texts: list[str], phrase: str) -> None:
    assert Said(texts).has(phrase) in {True, False}


@pytest.mark.parametrize(
    ("tag", "wanted", "fits"),
    [
        ("de", "de", True),
        ("de-CH", "de", True),
        ("DE-ch-1996", "de-CH", True),
        ("de", "de-CH", False),
        ("deu", "de", False),
        ("fr", "*", True),
        ("", "*", False),
    ],
)
def test_ranges_fit_as_rfc_4647_says(tag: str, wanted: str, fits: bool) -> None:
    assert language_fits(tag, wanted) is fits


def test_the_closest_language_is_chosen() -> None:
    texts = {"en": "a", "de": "b", "de-CH": "c", "*": "d"}
    assert [by_language(texts, tag) for tag in ("de-CH", "de-AT", "fr", "")] == ["c", "b", "d", "d"]
    assert by_language({"en": "a"}, "fr") == "a"
    assert by_language({}, "fr") == ""


def test_words_are_those_of_the_call_or_all() -> None:
    words = {"en": ["a"], "de": ["b"], "*": ["c"]}
    assert wanted_words(words, "de-AT") == ["b", "c"]
    assert wanted_words(words, "") == ["a", "b", "c"]
