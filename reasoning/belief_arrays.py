"""The messages and what was solved under them as plain arrays, for disk, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.saved_state import Arrays
from reasoning.belief_memory import BeliefMemory, LocalNetwork
from reasoning.cluster_messages import Messages
from reasoning.clusters import Clusters
from reasoning.network import FeedbackLinks
from schema.batches import Int64

_OWN = ("evidence", "answer", "unsolved", "unsettled")
_TYPES: Mapping[str, type[np.generic]] = {"variables": np.int64, "parent": np.int32, "cause": np.int32, "effect": np.int32}
_PER_VARIABLE, _PER_LINK, _PER_FEEDBACK = ("variables", "leak", "log_evidence"), ("parent", "strength"), ("cause", "effect", "strength")


def state_arrays(memory: BeliefMemory) -> dict[str, NDArray[Any]]:
    """The arrays of a state by name; what is of families or regions stands one after the other, with how much is of each."""
    regions = [region for _, networks, _ in memory.families for region in networks]
    return {
        **{f"clusters {part}": array for part, array in memory.clusters._asdict().items()},
        **{f"messages {part}": array for part, array in memory.messages._asdict().items()},
        **{part: getattr(memory, part) for part in _OWN},
        "families members": _joined([members for members, _, _ in memory.families], np.int32),
        "families size": np.array([members.size for members, _, _ in memory.families], np.int64),
        "families regions": np.array([len(networks) for _, networks, _ in memory.families], np.int64),
        "families exact": np.array([exact for _, _, exact in memory.families], np.bool_),
        "regions size": np.array([region.variables.size for region in regions], np.int64),
        "regions causes": _joined([np.diff(region.parent_ptr) for region in regions], np.int64),
        **{f"regions {part}": _joined([getattr(region, part) for region in regions], _TYPES.get(part, np.float64)) for part in (*_PER_VARIABLE, *_PER_LINK)},
        "feedback size": np.array([len(region.feedback) for region in regions], np.int64),
        **{f"feedback {part}": _joined([getattr(region.feedback, part) for region in regions], _TYPES.get(part, np.float64)) for part in _PER_FEEDBACK},
    }


def state_of(arrays: Arrays) -> BeliefMemory | None:
    """The state that `state_arrays` made; None where there is none, or one laid out otherwise. Raises KeyError, IndexError or ValueError."""
    clusters, messages = (_with_prefix(arrays, prefix) for prefix in ("clusters ", "messages "))
    if clusters.keys() != set(Clusters._fields) or messages.keys() != set(Messages._fields) or not arrays.keys() >= {"feedback size", *_OWN}:
        return None
    regions = _regions(arrays)
    members = _split(arrays["families members"], arrays["families size"])
    counts, exact = arrays["families regions"].tolist(), arrays["families exact"].tolist()
    families = tuple((each, tuple(next(regions) for _ in range(count)), whole) for each, count, whole in zip(members, counts, exact, strict=True))
    own = {part: arrays[part] for part in _OWN}
    return BeliefMemory(Clusters(**clusters), Messages(**messages), own["evidence"], own["answer"], own["unsolved"], own["unsettled"], families)


def _regions(arrays: Arrays) -> Iterator[LocalNetwork]:
    sizes = arrays["regions size"]
    causes = _split(arrays["regions causes"], sizes)
    links = np.array([each.sum() for each in causes], np.int64)
    found = {part: _split(arrays[f"regions {part}"], sizes) for part in _PER_VARIABLE} | {part: _split(arrays[f"regions {part}"], links) for part in _PER_LINK}
    feedback = [_split(arrays[f"feedback {part}"], arrays["feedback size"]) for part in _PER_FEEDBACK]
    for place, each in enumerate(causes):
        parent_ptr = np.concatenate(([0], np.cumsum(each))).astype(np.int64)
        back = FeedbackLinks(*(rows[place] for rows in feedback))
        yield LocalNetwork(parent_ptr=parent_ptr, feedback=back, **{part: rows[place] for part, rows in found.items()})


def _with_prefix(arrays: Arrays, prefix: str) -> Mapping[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _joined(rows: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(rows).astype(kind) if rows else np.zeros(0, kind)


def _split(array: NDArray[Any], sizes: Int64) -> list[NDArray[Any]]:
    if int(sizes.sum()) != len(array):
        raise ValueError(f"{len(array)} values for {int(sizes.sum())} places")
    return [each.copy() for each in np.split(array, np.cumsum(sizes)[:-1])] if sizes.size else []
