"""A certificate for the tests of this folder: to make one takes a while."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.builders.certificates import Authority
from tests.builders.edge_values import MAXIMAL


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def renewable(authority: Authority) -> Mapping[str, object]:
    """All values of an edge whose certificate is renewed without a restart."""
    certificate, key = (str(path) for path in authority.own)
    files = {"tls_certificate": certificate, "tls_key": key, "tls_ca": certificate}
    return {**MAXIMAL, **files, "tls_reload": True}
