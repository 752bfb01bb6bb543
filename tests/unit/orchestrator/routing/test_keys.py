"""The page about the routes file has every key of the shape that reads it, and its examples run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from orchestrator.routing.document import Document
from orchestrator.routing.keys import PARTS, key_table
from orchestrator.routing.parsing import parse_table
from orchestrator.routing.table import RoutingTable
from pydantic import BaseModel

PAGE = (Path(__file__).parents[4] / "docs" / "routing.md").read_text()


def test_the_page_ends_with_the_table_of_keys() -> None:
    assert PAGE.endswith(f"\n{key_table()}\n"), "python -m orchestrator.app.routes keys"


def test_every_key_is_described() -> None:
    assert all(field.description for _, part in PARTS for field in part.model_fields.values())


def test_every_part_of_the_file_has_its_table() -> None:
    described = {part for _, part in PARTS}
    assert set(_parts(Document)) <= described


def _parts(part: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> Iterator[Any]:
    yield part
    for field in part.model_fields.values():
        for inner in _models(field.annotation):
            if inner not in (*seen, part):
                yield from _parts(inner, (*seen, part))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _models(each)


def test_the_pages_example_is_right() -> None:
    example = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert len(parse_table(example[1], RoutingTable()).rules) == 2
