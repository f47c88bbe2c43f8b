"""YAML whose every value knows its file and line, and the laying of one tree over another."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from schema.rule_format import Shape, names

LISTS_OF_NAMED = {"propagation": ("over", "toward", "cause", "to", "effect"), "tests": ("name",)}


class CausalModelError(Exception):
    """A rule file that can't be used; the message names file, line and the nearest name."""


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value that knows where it stands. Its readers raise CausalModelError."""

    file: str
    line: int
    value: Any

    def fail(self, problem: str) -> CausalModelError:
        """The error to raise for a problem here."""
        return CausalModelError(f"{self.file}:{self.line}: {problem}")

    def items(self) -> list[tuple[str, Node]]:
        """The entries of a mapping."""
        if not isinstance(self.value, dict):
            raise self.fail("a mapping is needed here.")
        return list(self.value.items())

    def elements(self) -> list[Node]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            raise self.fail("a list is needed here.")
        return list(self.value)

    def fields(self, shape: Shape) -> dict[str, Node]:
        """The entries of a mapping whose keys are given."""
        found = dict(self.items())
        required, optional = names(shape, required=True), names(shape, required=False)
        for key, node in found.items():
            if key not in required + optional:
                raise node.fail(f'the key "{key}" is not known here.{near(key, required + optional)}')
        for key in required:
            if key not in found:
                raise self.fail(f'the key "{key}" is missing here.')
        return found

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.fail("a text is needed here.")
        return self.value.strip()

    def number(self) -> float:
        """A number."""
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise self.fail(f"a number is needed here, not {self.value!r}.")
        return float(self.value)

    def probability(self) -> float:
        """A number within 0..1, both left out."""
        number = self.number()
        if not 0.0 < number < 1.0:
            raise self.fail(f"a probability between 0 and 1 is needed here, not {number:g}.")
        return number

    def amount(self) -> float:
        """A finite number of at least 0."""
        number = self.number()
        if not 0.0 <= number < float("inf"):
            raise self.fail(f"a number of at least 0 is needed here, not {number:g}.")
        return number

    def one_of(self, what: str, choices: Mapping[str, object]) -> str:
        """One of some names."""
        name = self.text()
        if name not in choices:
            raise self.fail(f'{what} "{name}" does not exist.{near(name, tuple(choices))}')
        return name


def near(name: str, choices: tuple[str, ...]) -> str:
    """A question that names the nearest of the choices, or nothing."""
    found = get_close_matches(name, choices, 1)
    return f' Did you mean "{found[0]}"?' if found else ""


def parse(name: str, content: bytes) -> Node:
    """The tree of a file. Raises CausalModelError."""
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CausalModelError(f"{name}:{line}: this is no YAML: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CausalModelError(f"{name}:1: this is no YAML: write it as UTF-8 text.") from error
    if node is None:
        raise CausalModelError(f"{name}:1: the file is empty.")
    return _wrap(name, node)


def _wrap(file: str, node: yaml.Node) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Node] = {}
        for key, value in node.value:
            if not isinstance(key.value, str):
                raise CausalModelError(f"{file}:{key.start_mark.line + 1}: a key must be a plain text.")
            if key.value in found:
                raise CausalModelError(f'{file}:{key.start_mark.line + 1}: the key "{key.value}" stands here twice.')
            found[key.value] = Node(file, key.start_mark.line + 1, _wrap(file, value).value)
        return Node(file, line, found)
    if isinstance(node, yaml.SequenceNode):
        return Node(file, line, [_wrap(file, each) for each in node.value])
    return Node(file, line, SafeConstructor().construct_object(node))


def overlaid(below: Node, above: Node) -> Node:
    """A kind's tree with another over it: mappings by key, propagation by what it leads from and to, tests by name; else the upper one counts.

    A null above removes what it names. Raises CausalModelError where it names nothing.
    """
    if not isinstance(above.value, dict) or not isinstance(below.value, dict):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        if node.value is None:
            if merged.pop(key, None) is None:
                raise node.fail(f'there is no "{key}" to remove here.{near(key, tuple(below.value))}')
        elif key in LISTS_OF_NAMED and key in merged:
            merged[key] = _lists_overlaid(merged[key], node, _identity(LISTS_OF_NAMED[key]))
        else:
            merged[key] = overlaid(merged[key], node) if key in merged else _new(key, node, below)
    return Node(above.file, above.line, merged)


def _new(key: str, node: Node, below: Node) -> Node:
    """What stands nowhere below. Where all that stands there has a summary and this has none, it was meant to change one of them."""
    described = [isinstance(each.value, dict) and "summary" in each.value for each in below.value.values()]
    if described and all(described) and isinstance(node.value, dict) and "summary" not in node.value:
        raise node.fail(f'there is no "{key}" to change here, and a new one needs a summary.{near(key, tuple(below.value))}')
    return node


def _lists_overlaid(below: Node, above: Node, identity: Callable[[Node], Hashable]) -> Node:
    found = {identity(each): each for each in below.elements()}
    found.update((identity(each), each) for each in above.elements())
    return Node(above.file, above.line, [each for each in found.values() if dict(each.items()).get("strength", each).value is not None])


def _identity(keys: tuple[str, ...]) -> Callable[[Node], Hashable]:
    def identity(node: Node) -> Hashable:
        fields = dict(node.items())
        return tuple(str(fields[key].value) if key in fields else "" for key in keys)

    return identity
