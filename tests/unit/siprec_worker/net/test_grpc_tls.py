"""Who may reach a worker's gRPC is told where nobody is asked for a certificate."""

from __future__ import annotations

import pytest
from siprec_worker.net.grpc_tls import is_open_to_strangers


@pytest.mark.parametrize(
    ("host", "is_open"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("10.1.2.3", True),
        ("worker.example", True),
    ],
)
def test_without_certificates_only_loopback_is_not_open(host: str, is_open: bool) -> None:
    assert is_open_to_strangers(host, None) is is_open
