"""Briefings become speech by a real flite."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from orchestrator.handoff.ports import Mute, Unspoken
from orchestrator.speech.flite import Flite, open_speech

FLITE = shutil.which("flite")
installed = pytest.mark.skipif(FLITE is None, reason="flite is not installed (apt install flite)")
TEXT = "Escalating account 4092. Caller disputes a 150 dollar charge."


@installed
async def test_a_text_becomes_some_seconds_of_sound_and_is_kept_for_the_next_time() -> None:
    speech = open_speech("slt")
    sound = await speech.render(TEXT)
    assert 3.0 < sound.seconds < 10.0
    assert await speech.render(TEXT) is sound


@installed
async def test_a_text_that_looks_like_an_option_is_only_read_out() -> None:
    assert (await open_speech("slt").render("-o /tmp/other --version")).seconds > 0.5


async def test_a_program_that_is_not_there_leaves_the_briefing_unspoken() -> None:
    with pytest.raises(Unspoken):
        await Flite("/nonexistent/flite", "slt").render(TEXT)


async def test_a_program_that_fails_leaves_the_briefing_unspoken() -> None:
    with pytest.raises(Unspoken):
        await Flite("false", "slt").render(TEXT)


async def test_a_program_that_hangs_ends_with_the_caller_who_waited(tmp_path: Path) -> None:
    stuck = tmp_path / "flite"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await Flite(str(stuck), "slt").render(TEXT)


async def test_without_a_voice_nothing_is_spoken() -> None:
    assert isinstance(open_speech(""), Mute)
    with pytest.raises(Unspoken):
        await open_speech("").render(TEXT)
