"""What a live graph remembers beyond a store's snapshot: to the window when each thing was seen, as what, and how sure each source was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.saved_state import Arrays, SavedStateError, json_array, json_of
from graph.topology import RelationKey
from schema.identity import EntityRef


@dataclass(frozen=True, slots=True)
class EntitySightings:
    """`labels`: of each attribute the values it was seen with, each with its first and last time."""

    first_seen: int
    last_seen: int
    sources: tuple[str, ...]
    labels: Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class RelationSightings:
    """`floor`: the confidence it was once restored with, for sources that have not spoken since."""

    last_seen: int
    floor: float
    by_source: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Sightings:
    """Of the whole graph at event time `at`."""

    at: int
    entities: Mapping[EntityRef, EntitySightings]
    relations: Mapping[RelationKey, RelationSightings]


def sightings_arrays(seen: Sightings) -> dict[str, NDArray[Any]]:
    """For `graph.saved_state.pack`."""
    place = {ref: number for number, ref in enumerate(seen.entities)}
    labels = [[name, value, place[ref]] for ref, each in seen.entities.items() for name, values in each.labels.items() for value in values]
    spans = [span for each in seen.entities.values() for values in each.labels.values() for span in values.values()]
    return {
        "at": np.array([seen.at], np.int64),
        "entities": json_array([str(ref) for ref in place]),
        "times": np.array([(each.first_seen, each.last_seen) for each in seen.entities.values()], np.int64).reshape(-1, 2),
        "sources": json_array([each.sources for each in seen.entities.values()]),
        "labels": json_array(labels),
        "label_times": np.array(spans, np.int64).reshape(-1, 2),
        "relations": json_array([[place[key.source], key.kind, place[key.target], each.by_source] for key, each in seen.relations.items()]),
        "relation_times": np.array([each.last_seen for each in seen.relations.values()], np.int64),
        "floors": np.array([each.floor for each in seen.relations.values()], np.float64),
    }


def sightings_of(arrays: Arrays) -> Sightings:
    """The reverse of `sightings_arrays`. Raises SavedStateError."""
    try:
        refs = [EntityRef.parse(text) for text in json_of(arrays["entities"])]
        labels: list[dict[str, dict[str, tuple[int, int]]]] = [{} for _ in refs]
        for (name, value, place), (first, last) in zip(json_of(arrays["labels"]), arrays["label_times"].tolist(), strict=True):
            labels[place].setdefault(name, {})[value] = (first, last)
        entities = zip(refs, arrays["times"].tolist(), json_of(arrays["sources"]), labels, strict=True)
        relations = zip(json_of(arrays["relations"]), arrays["relation_times"].tolist(), arrays["floors"].tolist(), strict=True)
        return Sightings(
            int(arrays["at"][0]),
            {ref: EntitySightings(first, last, tuple(sources), own) for ref, (first, last), sources, own in entities},
            {RelationKey(refs[source], kind, refs[target]): RelationSightings(last, floor, by) for (source, kind, target, by), last, floor in relations},
        )
    except (KeyError, IndexError, TypeError, ValueError) as trouble:
        raise SavedStateError(f"its sightings do not read ({type(trouble).__name__}: {trouble})") from trouble
