#!/usr/bin/env python3
"""Writes what follows from deploy/helm/values.yaml: values.schema.json, and the table in README.md.

scripts/chart_docs.py [--check]    --check writes nothing and exits 1 when something is out of date

A key's meaning is the `# --` comment above it (or beside the keys of an image, its name). The
schema is strict: every key that is not in values.yaml is refused, but for the maps that are empty
there, which are the reader's own.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm"
BEGIN, END = "<!-- values: made by scripts/chart_docs.py -->", "<!-- end of values -->"

ENUMS = {
    "worker.media": ["podIP", "hostNetwork", "advertised"],
    "worker.autoscaling.mode": ["none", "keda", "external", "pods", "cpu"],
    "edge.kind": ["Deployment", "DaemonSet"],
    "edge.service.type": ["ClusterIP", "LoadBalancer", "NodePort"],
    "orchestrator.service.type": ["ClusterIP", "LoadBalancer", "NodePort"],
}
PATTERNS = {
    "worker.ports.rtp": r"^[0-9]{4,5}-[0-9]{4,5}$",
    "rtpengine.ports.rtp": r"^[0-9]{4,5}-[0-9]{4,5}$",
    "worker.agent": r"^$|^(discard:|(grpcs?|grpcs?\+aio|wss?)://.+)$",
    "pbx.ari.url": r"^$|^https?://.+$",
}
# What others make of: Kubernetes of a pod's needs, the orchestrator of its rules.
FREE = {"resources", "routing"}


def schema(values: object, path: str = "") -> dict[str, Any]:
    """A JSON schema of what may stand in the place of `values`."""
    match values:
        case dict() if path.rpartition(".")[2] in FREE or not values:
            return {"type": "object"}
        case dict():
            return {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    key: schema(value, f"{path}.{key}".lstrip(".")) for key, value in values.items()
                },
            }
        case list():
            return {"type": "array"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer", "minimum": 0}
        case _ if path in ENUMS:
            return {"enum": ENUMS[path]}
        case _ if path in PATTERNS:
            return {"type": "string", "pattern": PATTERNS[path]}
        case _:
            return {"type": "string"}


def whole_schema(values: dict[str, Any]) -> str:
    made = schema(values)
    # Helm adds it for a parent chart.
    made["properties"]["global"].pop("additionalProperties")
    for name in ("podSecurityContext", "securityContext", "labels"):
        _open(made, name)
    return (
        json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **made}, indent=2) + "\n"
    )


def _open(made: dict[str, Any], name: str) -> None:
    """Kubernetes' own objects may say more than their defaults do."""
    for key, value in made.get("properties", {}).items():
        if key == name:
            value.clear()
            value["type"] = "object"
        else:
            _open(value, name)


def rows(text: str) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of every `# --` comment, in the file's order."""
    values = yaml.safe_load(text)
    found, stack, comment = [], [], ""
    for line in text.splitlines():
        if said := re.match(r" *# -- (.*)", line):
            comment = said[1]
        elif key := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):", line):
            stack = [*stack[: len(key[1]) // 2], key[2]]
            if comment:
                default: Any = values
                for part in stack:
                    default = default[part]
                found.append((".".join(stack), json.dumps(default), comment))
            comment = ""
    return found


def table(text: str) -> str:
    lines = [BEGIN, "| key | default | meaning |", "|---|---|---|"]
    for key, default, meaning in rows(text):
        shown = default if len(default) <= 60 else "see values.yaml"  # noqa: PLR2004 - columns
        lines.append(f"| `{key}` | `{shown}` | {meaning} |")
    return "\n".join([*lines, END])


def main(arguments: list[str]) -> int:
    text = (CHART / "values.yaml").read_text()
    readme = (CHART / "README.md").read_text()
    before, _, rest = readme.partition(BEGIN)
    files = {
        CHART / "values.schema.json": whole_schema(yaml.safe_load(text)),
        CHART / "README.md": before + table(text) + rest.partition(END)[2],
    }
    stale = [path for path, new in files.items() if not path.exists() or path.read_text() != new]
    for path in stale:
        if "--check" in arguments:
            sys.stderr.write(f"{path.name} is out of date: scripts/chart_docs.py\n")
        else:
            path.write_text(files[path])
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
