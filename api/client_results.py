"""What the public client answers with: frozen values, one for each type of the GraphQL schema, asked for and read by their declarations.

Here what is told of the estate and the server; verdicts are in api.client_verdicts.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

from api.instants import parse_instant, write_instant

Result = TypeVar("Result")


class Instant(int):
    """An instant of event time: epoch nanoseconds that print as ISO 8601 in UTC."""

    __slots__ = ()

    def __str__(self) -> str:
        return write_instant(int(self))


@dataclass(frozen=True, slots=True)
class EntityAttribute:
    """Something known about an entity that is not measured."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Entity:
    """Something that can fail. `id`: kind:cluster/namespace/name."""

    id: str
    kind: str
    cluster: str
    namespace: str
    name: str
    service: str | None
    attributes: tuple[EntityAttribute, ...]
    sources: tuple[str, ...]
    first_seen: Instant
    last_seen: Instant


@dataclass(frozen=True, slots=True)
class RelationStatistics:
    """What went over a relation lately. `request_rate`: per second."""

    seconds: float
    requests: int
    errors: int
    request_rate: float
    error_ratio: float
    mean_duration_seconds: float


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed, directed edge between entities."""

    source: str
    kind: str
    target: str
    sources: tuple[str, ...]
    confidence: float
    first_seen: Instant
    last_seen: Instant
    statistics: RelationStatistics | None


@dataclass(frozen=True, slots=True)
class Topology:
    """The neighbourhood of an entity. `truncated`: there is more than the server lists."""

    at: Instant
    root: str
    entities: tuple[Entity, ...]
    relations: tuple[Relation, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Drop:
    """What was dropped, and why."""

    reason: str
    count: float


@dataclass(frozen=True, slots=True)
class Status:
    """How the server is. `at`: event time of its last window, None before the first. `unsettled_entities`: the first of `unsettled`."""

    at: Instant | None
    version: str
    knowledge: str
    knowledge_trouble: str
    entities: int
    relations: int
    open_incidents: int
    ready: bool
    durable_through: Instant | None
    store_trouble: str
    unsettled: int
    unsettled_entities: tuple[str, ...]
    dropped: tuple[Drop, ...]


def as_json(value: object) -> Any:
    """A result as JSON takes it: dictionaries with the fields' names, instants as ISO 8601."""
    if isinstance(value, Instant):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [as_json(each) for each in value] if isinstance(value, tuple) else value


def selection(kind: type) -> str:
    """The GraphQL selection that asks for all fields of a result type."""
    hints = typing.get_type_hints(kind)
    return "{ " + " ".join(_camel(name) + _selected(_inner(hint)) for name, hint in hints.items()) + " }"


def read(kind: type[Result], value: Mapping[str, Any]) -> Result:
    """A result from what the server answered."""
    hints = typing.get_type_hints(kind)
    return kind(**{name: _read_field(hint, value[_camel(name)]) for name, hint in hints.items()})


def _read_field(hint: Any, value: Any) -> Any:
    inner = _inner(hint)
    if value is None:
        return None
    if typing.get_origin(hint) is tuple:
        return tuple(_read_field(inner, each) for each in value)
    if inner is Instant:
        return Instant(parse_instant(value))
    return read(inner, value) if _is_result(inner) else value


def _inner(hint: Any) -> Any:
    """X of `X | None` and of `tuple[X, ...]`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is tuple:
        return typing.get_args(hint)[0]
    return hint


def _selected(inner: Any) -> str:
    return f" {selection(inner)}" if _is_result(inner) else ""


def _is_result(hint: Any) -> TypeGuard[type]:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
