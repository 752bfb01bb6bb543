"""What a trial adds: an Asterisk of our own, and `helm test`."""

from __future__ import annotations

import pytest
import typer
import yaml
from voicefork_cli.app import app

from tests.chart.conftest import ROOT, Manifest, template

ASTERISK = ROOT / "deploy" / "asterisk"


def doctor(values: str) -> tuple[Manifest, list[str]]:
    """The pod's only container, and its arguments."""
    pod = template(values).one("Pod", "-test")
    (container,) = pod["spec"]["containers"]
    return container, container["args"]


def test_helm_test_places_a_call_where_asterisk_and_ai_are_ours() -> None:
    _, arguments = doctor("trial-values.yaml")

    assert {"--call", "--pbx=x-voicefork-asterisk:5060"} <= set(arguments)


def test_helm_test_places_no_call_to_an_ai_that_is_not_ours() -> None:
    _, arguments = doctor("production-values.yaml")

    assert not {"--call"} & set(arguments)


def test_the_doctor_understands_what_the_chart_says_to_it() -> None:
    command = typer.main.get_command(app)
    for values in ("trial-values.yaml", "production-values.yaml"):
        name, *arguments = doctor(values)[1]

        with command.make_context(
            "voicefork", [name, *arguments], resilient_parsing=True
        ) as parent:
            found = command.get_command(parent, name)  # type: ignore[attr-defined]
            context = found.make_context(name, arguments, parent=parent)

        assert context.params["worker"] == "x-voicefork-worker:5080"


def test_the_doctors_pod_is_restricted_and_has_no_token() -> None:
    pod = template("trial-values.yaml").one("Pod", "-test")["spec"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False


def test_asterisk_gets_the_repositorys_files() -> None:
    rendered = template("trial-values.yaml")
    data = rendered.one("ConfigMap", "-asterisk")["data"]
    files = {path.name: path for path in ASTERISK.glob("*.conf")}
    files |= {f"trial.{path.name}": path for path in ASTERISK.glob("trial/*.conf")}

    assert data.keys() == {"agents", *files}
    assert all(data[name] == path.read_text() for name, path in files.items())
    (volume,) = (
        volume["configMap"]["items"]
        for volume in rendered.one("Deployment", "-asterisk")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "config"
    )
    assert {item["key"] for item in volume} == set(data)


@pytest.mark.parametrize("setting", ["replicas=1", "replicas=4", "replicas=7", "config.slots=9"])
def test_asterisk_asks_as_many_slots_as_the_orchestrators_have(setting: str) -> None:
    rendered = template("trial-values.yaml", settings=(f"orchestrator.{setting}",))
    settings = yaml.safe_load(
        rendered.one("ConfigMap", "-orchestrator")["data"]["orchestrator.yaml"]
    )
    (container,) = rendered.one("Deployment", "-asterisk")["spec"]["template"]["spec"]["containers"]
    told = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert told["SLOTS"] == str(settings["slots"])
    # What start.sh makes of it is what the dialplan reads.
    assert '#include "slots.conf"' in (ASTERISK / "trial" / "extensions.conf").read_text()
    assert "VOICEFORK_SLOTS=%s" in (ASTERISK / "trial" / "start.sh").read_text()
