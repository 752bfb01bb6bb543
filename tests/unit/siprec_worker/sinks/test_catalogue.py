"""URLs of agents."""

from __future__ import annotations

from pathlib import Path

import pytest
from siprec_worker.errors import SetupError
from siprec_worker.sinks.catalogue import connector_for
from siprec_worker.sinks.discard import DiscardConnector
from siprec_worker.sinks.grpc_aio import GrpcAioConnector
from siprec_worker.sinks.h2_connector import H2Connector
from siprec_worker.sinks.options import AgentOptions
from siprec_worker.sinks.resuming import Resuming


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("discard:", DiscardConnector),
        ("grpc://ai.example:50051", H2Connector),
        ("grpc://[::1]:50051/", H2Connector),
        ("grpcs://ai.example:443", H2Connector),
        ("grpc+aio://ai.example:50051", GrpcAioConnector),
        ("grpcs+aio://ai.example:443", GrpcAioConnector),
    ],
)
async def test_the_scheme_names_the_connector(url: str, kind: type) -> None:
    connector = connector_for(url, AgentOptions())
    assert isinstance(connector.inner if isinstance(connector, Resuming) else connector, kind)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ai.example:50051",
        "http://ai.example",
        "grpc://ai.example",
        "grpc://:50051",
        "grpc://ai.example:0",
        "grpc://ai.example:99999",
        "grpc://user@ai.example:1",
        "grpc://ai.example:1/path",
        "grpc://[::1",
    ],
)
def test_anything_else_is_refused_with_the_url(url: str) -> None:
    with pytest.raises(SetupError, match="agent "):
        connector_for(url, AgentOptions())


@pytest.mark.parametrize("scheme", ["grpcs", "grpcs+aio"])
def test_tls_files_that_cannot_be_read_are_named(scheme: str, tmp_path: Path) -> None:
    options = AgentOptions(ca_file=tmp_path / "none.pem")
    with pytest.raises(SetupError, match=r"none\.pem"):
        connector_for(f"{scheme}://ai.example:443", options)
