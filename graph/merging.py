"""How two sightings of one thing become one, the same in every store and in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from graph.live import describe_change
from schema.verdicts import EntityChange


def attributes_json(attributes: Mapping[str, str]) -> str:
    """One text for equal attributes."""
    return orjson.dumps(dict(attributes), option=orjson.OPT_SORT_KEYS).decode()


def merged_sources(one: Iterable[str], other: Iterable[str]) -> tuple[str, ...]:
    """All of both, in ascending order."""
    return tuple(sorted({*one, *other}))


def supersedes(attributes: str, last_seen: int, standing: str, told: int) -> bool:
    """Whether attributes of `last_seen` stand in place of those told at `told`; both as `attributes_json`."""
    return (last_seen, attributes) > (told, standing)


def entity_change_order(change: EntityChange) -> tuple[int, str, str, str]:
    """The order of changes to entities everywhere in the stores."""
    return change.at, str(change.entity), change.kind.value, change.detail


def change_detail(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What changed between two sets of attributes, in words."""
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    return describe_change((name, before.get(name, ""), after.get(name, "")) for name in names)
