"""Spoken sentences, by the flite of this machine."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from voicefork_cli.measure.pcm import level_dbm0
from voicefork_cli.sim.errors import SetupMissing
from voicefork_cli.sim.speech import say


async def test_a_sentence_is_heard() -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    pcm = await say("I would like to speak to a human, please.")
    assert pcm.dtype == np.int16
    assert 1.5 < len(pcm) / 8000 < 5
    assert level_dbm0(pcm) > -35


async def test_without_flite_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupMissing, match="apt-get install flite"):
        await say("hello")


async def test_nothing_cannot_be_said() -> None:
    with pytest.raises(ValueError, match="0 characters"):
        await say("")
