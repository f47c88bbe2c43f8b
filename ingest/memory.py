"""What ingest remembers from window to window, as a value that goes to disk and comes back. Rows and requests still under way are not in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from graph.saved_state import Arrays, SavedStateError, json_array, json_of
from ingest.samples import Pairs, SampleMemory
from schema.identity import EntityRef

Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True, slots=True)
class AssemblerMemory:
    """Until when windows are closed, the watermark, who sends spans, and the last values of series. Times are epoch nanoseconds."""

    closed_until: int
    watermark: int
    speaking: tuple[EntityRef, ...]
    samples: SampleMemory


def memory_arrays(memory: AssemblerMemory) -> dict[str, NDArray[Any]]:
    """For `graph.saved_state.pack`: series as columns of places in what few metrics, owners and attribute sets there are."""
    metrics, owners, pairs = _Places[str](), _Places[str](), _Places[Pairs]()
    series = [(metrics.of(metric), owners.of(owner), pairs.of(attributes)) for metric, owner, attributes in memory.samples.last]
    limits = [[str(ref), attribute, pairs.of(pool), limit] for (ref, attribute, pool), limit in memory.samples.limits.items()]
    return {
        "times": np.array([memory.closed_until, memory.watermark], np.int64),
        "speaking": _names(memory.speaking),
        "series": np.array(series, np.int32).reshape(-1, 3),
        "values": np.array(list(memory.samples.last.values()), np.float64).reshape(-1, 2),
        "limits": json_array(limits),
        "metrics": json_array(metrics.values),
        "owners": json_array(owners.values),
        "pairs": json_array(pairs.values),
        "with_spans": _names(memory.samples.with_spans),
        "measured_success": _names(memory.samples.measured_success),
    }


def memory_of(arrays: Arrays) -> AssemblerMemory:
    """The reverse of `memory_arrays`. Raises SavedStateError."""
    try:
        closed_until, watermark = arrays["times"].tolist()
        metrics, owners = json_of(arrays["metrics"]), json_of(arrays["owners"])
        pairs: Sequence[Pairs] = [tuple((key, value) for key, value in each) for each in json_of(arrays["pairs"])]
        series = [(metrics[metric], owners[owner], pairs[attributes]) for metric, owner, attributes in arrays["series"].tolist()]
        values = [(value, count) for value, count in arrays["values"].tolist()]
        samples = SampleMemory(
            dict(zip(series, values, strict=True)),
            {(EntityRef.parse(ref), attribute, pairs[pool]): limit for ref, attribute, pool, limit in json_of(arrays["limits"])},
            _refs(arrays["with_spans"]),
            _refs(arrays["measured_success"]),
        )
        return AssemblerMemory(closed_until, watermark, _refs(arrays["speaking"]), samples)
    except (KeyError, IndexError, TypeError, ValueError) as trouble:
        raise SavedStateError(f"its series do not read ({type(trouble).__name__}: {trouble})") from trouble


class _Places(Generic[Value]):
    """Each value once, at the place it was first seen."""

    def __init__(self) -> None:
        self._places: dict[Value, int] = {}

    @property
    def values(self) -> list[Value]:
        return list(self._places)

    def of(self, value: Value) -> int:
        return self._places.setdefault(value, len(self._places))


def _names(refs: Sequence[EntityRef]) -> NDArray[np.uint8]:
    return json_array([str(ref) for ref in refs])


def _refs(array: NDArray[Any]) -> tuple[EntityRef, ...]:
    return tuple(EntityRef.parse(text) for text in json_of(array))
