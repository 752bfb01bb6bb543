"""YAML with line numbers: data, and where in the text each part of it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from orchestrator.errors import SetupError

MOST_BYTES = 256 * 1024
_MOST_NODES = 50_000  # also ends aliases that multiply, and those that contain themselves

Loc = Sequence[str | int]


class Source:
    """A YAML document. Raises SetupError: not UTF-8, not YAML, too large, or a key given twice."""

    def __init__(self, text: str | bytes) -> None:
        if len(text) > MOST_BYTES:
            raise SetupError(f"routes: larger than {MOST_BYTES // 1024} KiB")
        loader = None
        try:
            loader = yaml.SafeLoader(text)
            self._root = loader.get_single_node()
            self._refuse_odd(self._root)
            self.document: Any = loader.construct_document(self._root) if self._root else {}
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = "" if mark is None else f"line {mark.line + 1}: "
            raise SetupError(f"routes: {where}{error.problem or error.context}") from error
        # PyYAML's constructors raise what they like on `!!bool x`, `!!int ""` or 2026-13-45.
        except (yaml.YAMLError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise SetupError(f"routes: not readable as YAML: {error}") from error
        except (ArithmeticError, RecursionError) as error:
            raise SetupError(f"routes: not readable as YAML: {type(error).__name__}") from error
        finally:
            if loader is not None:
                loader.dispose()

    def line(self, loc: Loc) -> int:
        """The line of this place, or of the last part of the way to it that is there."""
        node, line = self._root, 1
        for part in loc:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(part)), None)
                if found is None:
                    break
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                if part >= len(node.value):
                    break
                node = node.value[part]
                line = node.start_mark.line + 1
            else:
                break
        return line

    def _refuse_odd(self, root: yaml.Node | None) -> None:
        open_nodes = [root] if root else []
        visited = 0
        while open_nodes:
            visited += 1
            if visited > _MOST_NODES:
                raise SetupError(f"routes: more than {_MOST_NODES} values (or endless aliases)")
            node = open_nodes.pop()
            if isinstance(node, yaml.MappingNode):
                _refuse_twins(node)
                open_nodes += [value for _, value in node.value]
            elif isinstance(node, yaml.SequenceNode):
                open_nodes += node.value


def path_text(loc: Loc) -> str:
    """rules[0].when.intent"""
    return "".join(_steps(loc)) or "the file"


def _steps(loc: Loc) -> Iterator[str]:
    for number, part in enumerate(loc):
        yield f"[{part}]" if isinstance(part, int) else f"{'.' if number else ''}{part}"


def _refuse_twins(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                raise SetupError(
                    f"routes: line {key.start_mark.line + 1}: {key.value!r} is given twice"
                )
            seen.add(key.value)
