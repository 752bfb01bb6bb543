"""Whole words and phrases in what was said, in any letter case."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

_WORD = re.compile(r"\w+")
# Scripts that put no spaces between words: there a phrase is looked for anywhere.
_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER")


def language_fits(tag: str, language_range: str) -> bool:
    """RFC 4647 section 3.3.1, basic filtering: `de` fits de and de-CH; `*` every language."""
    tag, wanted = tag.casefold(), language_range.casefold()
    return bool(tag) and (wanted in {"*", tag} or tag.startswith(f"{wanted}-"))


def by_language(choices: Mapping[str, str], tag: str) -> str:
    """The longest range that fits, else `*`, else the first; empty when there is none."""
    fitting = [key for key in choices if key != "*" and language_fits(tag, key)]
    if fitting:
        return choices[max(fitting, key=len)]
    return choices.get("*") or next(iter(choices.values()), "")


def wanted_words(words: Mapping[str, Sequence[str]], tag: str) -> list[str]:
    """The lists of the call's language and of `*`; all lists where none is the call's."""
    fitting = [key for key in words if key != "*" and language_fits(tag, key)]
    keys = [*fitting, "*"] if fitting else list(words)
    return [word for key in keys for word in words.get(key, ())]


class Said:
    """What was said, ready for many questions."""

    def __init__(self, texts: Sequence[str]) -> None:
        folded = [_fold(text) for text in texts]
        self._whole = "\n".join(folded)
        # A word borders on spaces; between texts lies a line's end, which no phrase crosses.
        self._words = "\n".join(f" {' '.join(_WORD.findall(text))} " for text in folded)

    def has(self, phrase: str) -> bool:
        folded = _fold(phrase)
        if any(unicodedata.name(letter, "").startswith(_UNSPACED) for letter in folded):
            return folded in self._whole
        words = " ".join(_WORD.findall(folded))
        return bool(words) and f" {words} " in self._words


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
