"""Bencode, as rtpengine's NG protocol uses it: bytes, integers, lists, dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from voicefork_cli.sim.errors import WireError

Encodable: TypeAlias = "str | bytes | int | Sequence[Encodable] | Mapping[str, Encodable]"
Decoded: TypeAlias = "bytes | int | list[Decoded] | dict[str, Decoded]"

MAX_DEPTH = 32


def bencode(value: Encodable) -> bytes:
    """Dictionaries keep their order, as OpenSIPS sends them."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%b" % (len(value), value)
        case Mapping():
            items = (bencode(key) + bencode(item) for key, item in value.items())
            return b"d" + b"".join(items) + b"e"
        case _:
            return b"l" + b"".join(map(bencode, value)) + b"e"


def bdecode(data: bytes) -> Decoded:
    """Raises WireError on anything but exactly one bencoded value."""
    value, end = _value(data, 0, 0)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes after the bencoded value")
    return value


def _value(data: bytes, at: int, depth: int) -> tuple[Decoded, int]:
    if depth > MAX_DEPTH:
        raise WireError(f"bencode nested deeper than {MAX_DEPTH}")
    match data[at : at + 1]:
        case b"i":
            return _number(data, at + 1, b"e")
        case b"l":
            return _items(data, at + 1, depth)
        case b"d":
            flat, end = _items(data, at + 1, depth)
            return _paired(flat), end
        case _:
            length, start = _number(data, at, b":")
            if length < 0 or start + length > len(data):
                raise WireError(f"bencoded string of {length} bytes at {at} is cut off")
            return data[start : start + length], start + length


def _number(data: bytes, at: int, end: bytes) -> tuple[int, int]:
    stop = data.find(end, at, at + 24)
    digits = data[at:stop]
    if stop < 0 or not digits.removeprefix(b"-").isdigit():
        raise WireError(f"no bencoded number at {at}")
    return int(digits), stop + 1


def _items(data: bytes, at: int, depth: int) -> tuple[list[Decoded], int]:
    items: list[Decoded] = []
    while data[at : at + 1] != b"e":
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at + 1


def _paired(flat: list[Decoded]) -> dict[str, Decoded]:
    paired: dict[str, Decoded] = {}
    if len(flat) % 2:
        raise WireError("bencoded dictionary with a key and no value")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if not isinstance(key, bytes):
            raise WireError("bencoded dictionary with a key that is no string")
        paired[key.decode("utf-8", "replace")] = value
    return paired
