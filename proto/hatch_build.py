"""Build hook: makes the Python stubs from the .proto files at every install.

The proto directory is the proto package is the Python import path, so that the generated
imports are right as they come (docs/decisions: no generated code is checked in).
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg, misc]
    """Runs protoc with the python, grpc and mypy plugins over voicefork/**/*.proto."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        from grpc_tools import protoc  # noqa: PLC0415 - only there in the build environment

        root = Path(self.root)
        protos = sorted(str(p.relative_to(root)) for p in root.glob("voicefork/**/*.proto"))
        include = Path(protoc.__file__).parent / "_proto"
        plugins = [
            f"--plugin=protoc-gen-{name}={_script('mypy-protobuf', f'protoc-gen-{name}')}"
            for name in ("mypy", "mypy_grpc")
        ]
        outputs = [
            f"--{kind}_out={root}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")
        ]
        code = protoc.main(["protoc", f"-I{root}", f"-I{include}", *plugins, *outputs, *protos])
        if code:
            raise RuntimeError(f"protoc failed with exit code {code} on {', '.join(protos)}")


def _script(package: str, name: str) -> Path:
    """Where the build environment put a console script of `package`."""
    suffix = ".exe" if sys.platform == "win32" else ""
    for file in distribution(package).files or ():
        if file.name == name + suffix:
            return Path(str(file.locate())).resolve()
    raise RuntimeError(f"{package} has no script {name}")
