"""What of TLS is refused before anything is dialled: it must not end in plaintext unnoticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from voicefork_cli.grpc_channel import PLAINTEXT, Tls

FILE = Path("x.pem")


@pytest.mark.parametrize(
    "given",
    [{"cert": FILE, "key": FILE}, {"key": FILE}, {"name": "worker"}],
    ids=["a certificate", "a key", "a name"],
)
def test_what_belongs_to_tls_is_refused_without_a_ca(given: dict[str, Path | str]) -> None:
    with pytest.raises(typer.BadParameter, match="--tls-ca"):
        Tls(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{"cert": FILE}, {"key": FILE}], ids=["no key", "no certificate"])
def test_a_certificate_and_its_key_go_together(given: dict[str, Path]) -> None:
    with pytest.raises(typer.BadParameter, match="go together"):
        Tls(FILE, **given)  # type: ignore[arg-type]


def test_a_worker_is_named_where_there_is_tls_alone() -> None:
    assert Tls(FILE).of("worker") == Tls(FILE, name="worker")
    assert PLAINTEXT.of("") == PLAINTEXT
    with pytest.raises(typer.BadParameter, match="--tls-ca"):
        PLAINTEXT.of("worker")
