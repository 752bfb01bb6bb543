"""Fills in configuration templates: `@NAME@` is replaced, everything else stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from voicefork_cli.lab.errors import LabError

_PLACE = re.compile(r"@([A-Z][A-Z0-9_]*)@")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replaces every `@NAME@`; a value may be several lines.

    Raises:
        KeyError: the template names a value that is not given.
    """
    return _PLACE.sub(lambda place: str(values[place[1]]), template)


def render_folder(name: str, into: Path, values: Mapping[str, object]) -> None:
    """Renders every file of the package's `templates/<name>` into the folder `into`."""
    for template in resources.files(__package__).joinpath("templates", name).iterdir():
        (into / template.name).write_text(fill(template.read_text(), values))


def shipped(folder: str) -> Path:
    """A folder of the repository that owners copy from, e.g. `deploy/asterisk`.

    The lab runs what is shipped rather than a copy of it, so it runs from a checkout.

    Raises:
        LabError: there is no checkout around this package.
    """
    for parent in Path(__file__).resolve().parents:
        if (found := parent / folder).is_dir() and (parent / "pyproject.toml").is_file():
            return found
    raise LabError(f"no {folder} above {__file__}: the lab runs from a checkout of the repository")
