"""All that is believed at an instant, as a value that goes to disk and comes back: entities by identity, for their integers do not last."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.saved_state import Arrays, SavedStateError, json_array, json_of
from reasoning.belief_arrays import state_arrays, state_of
from reasoning.belief_memory import BeliefMemory
from reasoning.evidence.state import EvidenceMemory
from reasoning.evidence.streams import CAPACITY, StreamArrays, StreamsState
from reasoning.incidents import TrackerState
from schema.batches import Int64
from schema.identity import EntityRef
from schema.verdicts import ConditionRef, DefectRef
from schema.windows import Change, ChangeKind

STATE = "state "  # begins the names of the arrays of messages


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed at event time `at`. Entities in keys of streams and in changes are places in `identities`, None there if they are gone.

    `changes`: those of the last hour, which raise priors. Learned rates are the baselines of the streams. `state`: the messages, of the
    network that all this makes; None where there are none.
    """

    at: int
    identities: tuple[EntityRef | None, ...]
    evidence: EvidenceMemory
    changes: tuple[Change, ...]
    incidents: TrackerState
    state: BeliefMemory | None = None

    def numbered(self, number: Callable[[EntityRef], int]) -> Belief:
        """The same under other numbers of entities; what is of an entity that is gone or has no number (below 0) is left out."""
        numbers = [-1 if ref is None else number(ref) for ref in self.identities]
        identities: list[EntityRef | None] = [None] * (max(numbers, default=-1) + 1)
        for place, found in enumerate(numbers):
            if found >= 0:
                identities[found] = self.identities[place]
        streams = {name: table.under([_renumbered(key, numbers) for key in table.keys]) for name, table in self.evidence.streams.items()}
        changes = tuple(replace(change, entity=numbers[change.entity]) for change in self.changes if numbers[change.entity] >= 0)
        return replace(self, identities=tuple(identities), evidence=replace(self.evidence, streams=streams), changes=changes)


def belief_arrays(belief: Belief) -> dict[str, NDArray[Any]]:
    """The arrays of a belief, without entities that are gone: for `graph.saved_state.pack`."""
    numbers = {ref: number for number, ref in enumerate(sorted(ref for ref in belief.identities if ref is not None))}
    belief = belief.numbered(numbers.__getitem__)
    texts: dict[str, int] = {}
    found: dict[str, NDArray[Any]] = {
        "at": np.array([belief.at], np.int64),
        "identities": json_array([str(ref) for ref in numbers]),
        "episodes": json_array([[str(name.entity), name.condition, *span] for name, span in belief.evidence.episodes.items()]),
        "changes": json_array([[each.time, each.entity, each.kind.value, each.detail] for each in belief.changes]),
        "likely": json_array([[str(name.entity), name.defect, windows] for name, windows in belief.incidents.likely.items()]),
        "unlikely": json_array([[str(name.entity), name.defect, windows] for name, windows in belief.incidents.unlikely.items()]),
        "incidents": json_array([[name, *values] for name, values in belief.incidents.open.items()]),
    }
    for name, table in belief.evidence.streams.items():
        found |= {f"{name}.{part}": array for part, array in _stream_arrays(table, texts).items()}
    if belief.state is not None:
        found |= {STATE + name: array for name, array in state_arrays(belief.state).items()}
    return {**found, "texts": json_array(list(texts))}


def belief_of(arrays: Arrays) -> Belief:
    """The belief that `belief_arrays` made. Raises SavedStateError."""
    try:
        texts = json_of(arrays["texts"])
        names = sorted({name.rpartition(".")[0] for name in arrays if "." in name})
        return Belief(
            at=int(arrays["at"][0]),
            identities=tuple(EntityRef.parse(text) for text in json_of(arrays["identities"])),
            evidence=EvidenceMemory(
                {name: _streams_of({part: arrays[f"{name}.{part}"] for part in _PARTS}, texts) for name in names},
                {ConditionRef(EntityRef.parse(entity), condition): (onset, last) for entity, condition, onset, last in json_of(arrays["episodes"])},
            ),
            changes=tuple(Change(time, entity, ChangeKind(kind), detail) for time, entity, kind, detail in json_of(arrays["changes"])),
            incidents=TrackerState(
                _counts_of(arrays["likely"]), _counts_of(arrays["unlikely"]), {name: (now, peak) for name, now, peak in json_of(arrays["incidents"])}
            ),
            state=state_of({name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}),
        )
    except (KeyError, IndexError, TypeError, ValueError) as trouble:
        raise SavedStateError(f"its belief does not read ({type(trouble).__name__}: {trouble})") from trouble


def _renumbered(key: Hashable, numbers: Sequence[int]) -> Hashable:
    """The key with the new numbers of its entities; None if one has none."""
    assert isinstance(key, tuple)
    found = tuple(numbers[part] if isinstance(part, int) else part for part in key)
    return None if any(isinstance(part, int) and part < 0 for part in (*key, *found)) else found


_RING = ("at", "sums")
_PLAIN = ("held", "baseline", "taught", "middle", "spread", "last")
_PARTS = (*_RING, *_PLAIN, "past", "keys", "entities", "width")


def _stream_arrays(table: StreamsState, texts: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The rings unrolled: only what they hold, stream by stream, the oldest first."""
    a, keys = table.arrays, table.keys
    row, place = np.nonzero(np.arange(CAPACITY) < a.held[:, None])
    slot = (a.first[row] + place) % CAPACITY
    columns = np.array([[part if isinstance(part, int) else texts.setdefault(part, len(texts)) for part in _parts(key)] for key in keys], np.int32)
    return {
        **{part: getattr(a, part)[row, slot] for part in _RING},
        **{part: getattr(a, part) for part in _PLAIN},
        "past": a.past[np.arange(a.past.shape[1]) < a.taught[:, None]],
        "width": np.array([a.past.shape[1]], np.int64),
        "keys": columns,
        "entities": np.array([isinstance(part, int) for part in _parts(keys[0])] if keys else [], np.bool_),
    }


def _streams_of(parts: Mapping[str, NDArray[Any]], texts: Sequence[str]) -> StreamsState:
    streams, width = parts["held"].size, int(parts["width"][0])
    arrays = StreamArrays.empty(streams, parts["baseline"].shape[1], width)
    for part in _PLAIN:
        getattr(arrays, part)[:] = parts[part]
    held = np.arange(CAPACITY) < arrays.held[:, None]
    for part in _RING:
        getattr(arrays, part)[held] = parts[part]
    arrays.past[np.arange(width) < arrays.taught[:, None]] = parts["past"]
    is_entity = parts["entities"].tolist()
    keys = [tuple(part if entity else texts[part] for part, entity in zip(key, is_entity, strict=True)) for key in parts["keys"].tolist()]
    if len(keys) != streams:
        raise ValueError(f"{len(keys)} keys for {streams} streams")
    return StreamsState(tuple(keys), arrays)


def _parts(key: Hashable) -> tuple[int | str, ...]:
    assert isinstance(key, tuple)
    return key


def _counts_of(array: Int64) -> dict[DefectRef, int]:
    return {DefectRef(EntityRef.parse(entity), defect): windows for entity, defect, windows in json_of(array)}
