"""What every test shares: the marker of its folder, and the material outside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
MARKERS = {"unit": "unit", "integration": "integration", "e2e": "e2e", "opensips": "e2e"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test after its folder, so that no test can be in no category, or in a wrong one.

    Raises:
        pytest.UsageError: a test stands outside the folders that have a meaning.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        if folder not in MARKERS:
            raise pytest.UsageError(f"{item.path}: a test lives in one of tests/{sorted(MARKERS)}")
        item.add_marker(MARKERS[folder])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of captures and vendors' messages: VOICEFORK_SHARED, else `../shared`, or skip."""
    beside_the_checkout = TESTS.parent.parent / "shared"
    folder = Path(os.environ.get("VOICEFORK_SHARED", beside_the_checkout))
    if not folder.is_dir():
        pytest.skip("no shared material: set VOICEFORK_SHARED, or put it beside the checkout")
    return folder
