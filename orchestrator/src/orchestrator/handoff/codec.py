"""State and view to JSON and back, with a schema version.

A dataclass becomes an object whose "is" names the class, so that unions can be told apart; tuples
become lists, enums their values, mappings stay as they are.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

SCHEMA = 1

_written = json.JSONEncoder(separators=(",", ":")).encode
_ATOMS = frozenset({str, int, float, bool, type(None)})  # JSON as they are, and most of a state

T = TypeVar("T")


class UnreadableError(ValueError):
    """Stored JSON that is not what this version writes."""


def dump(value: object) -> str:
    """A dataclass as one JSON document."""
    return _written({"v": SCHEMA, "value": _plain(value)})


def load(kind: type[T], text: str | bytes) -> T:
    """Raises UnreadableError on anything that `dump` of this schema did not write."""
    try:
        document = json.loads(text)
        version, plain = document["v"], document["value"]
        value = _typed(kind, plain) if version == SCHEMA else None
    except UnreadableError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableError(f"not a stored {kind.__name__}: {error}") from error
    if version != SCHEMA:
        raise UnreadableError(f"schema {version!r}, this is {SCHEMA}")
    return cast(T, value)


def _plain(value: object) -> object:
    kind: Any = type(value)
    if kind in _ATOMS:
        return value
    if (names := _names(kind)) is not None:
        plain: dict[str, object] = {"is": kind.__name__}
        for name in names:
            plain[name] = _plain(getattr(value, name))
        return plain
    match value:
        case Enum():
            return value.value
        case bytes():
            return value.hex()
        case tuple():
            return [_plain(item) for item in value]
        case Mapping():
            return dict(value)
        case _:
            return value


@cache
def _names(kind: type) -> tuple[str, ...] | None:
    """Of a dataclass's fields; None: it is none. Bounded by the classes there are."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(field.name for field in dataclasses.fields(kind))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(kind: Any, plain: Any) -> Any:
    kind = getattr(kind, "__supertype__", kind)  # NewType
    origin = get_origin(kind)
    if origin in {Union, types.UnionType}:
        return _one_of(get_args(kind), plain)
    if origin is tuple:
        return tuple(_typed(get_args(kind)[0], item) for item in plain)
    if origin is not None and issubclass(origin, Mapping):
        return dict(plain)
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast(type, kind), plain)
    if issubclass(kind, Enum):
        return kind(plain)
    if kind is bytes:
        return bytes.fromhex(plain)
    if kind is float and isinstance(plain, int) and not isinstance(plain, bool):
        return float(plain)
    if not isinstance(plain, kind):
        raise UnreadableError(f"{type(plain).__name__} is not {kind.__name__}")
    return plain


def _dataclass(kind: type, plain: Any) -> Any:
    if plain["is"] != kind.__name__:
        raise UnreadableError(f"{plain['is']!r} where {kind.__name__} belongs")
    hints = _hints(kind)
    given = {name: _typed(hints[name], value) for name, value in plain.items() if name != "is"}
    return kind(**given)


def _one_of(kinds: tuple[Any, ...], plain: Any) -> Any:
    if plain is None:
        if type(None) in kinds:
            return None
        raise UnreadableError("null where a value belongs")
    named = plain.get("is") if isinstance(plain, dict) else None
    for kind in kinds:
        if kind is not type(None) and (named is None or kind.__name__ == named):
            return _typed(kind, plain)
    raise UnreadableError(f"{named!r} is none of {[kind.__name__ for kind in kinds]}")
