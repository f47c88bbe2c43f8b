"""What other resources said about a pod, container, node or namespace fills in what a resource leaves out.

An SDK knows its container id or host name, the kubelet knows its pods, a detector knows the cluster: each tells a part.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from graph.resources import CLUSTER_NAME, CONTAINER_ID, CONTAINER_NAME, HOST_NAME, NAMESPACE_NAME, NODE_NAME, POD_NAME, POD_UID, WORKLOAD_KEYS

# The node is left out: a stateful pod moves, and its name must not become ambiguous by that.
PLACE_KEYS = (NAMESPACE_NAME, POD_NAME, *WORKLOAD_KEYS)
Pairs = tuple[tuple[str, str], ...]


class Placement:
    """Remembers places by unambiguous names only: a name with two meanings has none. What is learnt in a window commutes.

    Bounded: the name that was learnt or confirmed longest ago goes first, counted.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._places: OrderedDict[str, Pairs | None] = OrderedDict()
        self._dropped: Counter[str] = Counter()
        self.version = 0

    @property
    def dropped(self) -> Mapping[str, int]:
        """Names forgotten for want of room, by reason."""
        return dict(self._dropped)

    def memory(self) -> list[object]:
        """What is known, as JSON: each name with its meaning, the one confirmed longest ago first."""
        return [[name, meaning] for name, meaning in self._places.items()]

    def restore(self, memory: Any) -> None:
        """Takes over what `memory` told. Raises TypeError or ValueError where it is malformed."""
        self._places = OrderedDict((name, None if meaning is None else tuple((key, value) for key, value in meaning)) for name, meaning in memory)
        self.version += 1

    def learn(self, attributes: Mapping[str, str]) -> None:
        """Takes note of what a resource says about its place. `version` moves when that is news."""
        if attributes.get(CLUSTER_NAME):
            for name in _cluster_names(attributes):
                self._note(f"cluster of {name}", ((CLUSTER_NAME, attributes[CLUSTER_NAME]),))
        if not attributes.get(POD_NAME):
            return
        place = tuple((key, attributes[key]) for key in PLACE_KEYS if attributes.get(key))
        for name in _pod_names(attributes):
            self._note(name, place)
        if attributes.get(CONTAINER_ID):
            container = attributes.get(CONTAINER_NAME)
            self._note(f"container {attributes[CONTAINER_ID]}", (*place, (CONTAINER_NAME, container)) if container else place)

    def complete(self, attributes: Mapping[str, str]) -> Mapping[str, str]:
        """The attributes with the pod, workload and cluster they leave out."""
        completed = {key: value for key, value in attributes.items() if value}
        names = [f"uid {completed.get(POD_UID)}"]
        if POD_NAME not in completed and NODE_NAME not in completed:
            names.append(f"host {completed.get(HOST_NAME)}")
        for more in ([f"container {completed.get(CONTAINER_ID)}"], names):
            completed = self._first(more) | completed
        if POD_NAME in completed:
            completed = self._first([_by_name(completed)]) | completed
        if CLUSTER_NAME not in completed:
            completed.update(self._first(f"cluster of {name}" for name in _cluster_names(completed)))
        return completed

    def _first(self, names: Iterable[str]) -> dict[str, str]:
        """What the first of the names that has a meaning stands for."""
        return dict(next((found for name in names if (found := self._places.get(name))), ()))

    def _note(self, name: str, meaning: Pairs) -> None:
        known = self._places.setdefault(name, ())
        self._places.move_to_end(name)
        merged = None if known is None else _merged(known, meaning)
        if merged != known:
            self._places[name] = merged
            self.version += 1
        if len(self._places) > self._limit:
            self._places.popitem(last=False)
            self._dropped["place_table_full"] += 1


def _cluster_names(attributes: Mapping[str, str]) -> Iterator[str]:
    """Most telling first."""
    if attributes.get(POD_UID):
        yield f"uid {attributes[POD_UID]}"
    if attributes.get(POD_NAME):
        yield _by_name(attributes)
    if attributes.get(NODE_NAME):
        yield f"node {attributes[NODE_NAME]}"
    if attributes.get(NAMESPACE_NAME):
        yield f"namespace {attributes[NAMESPACE_NAME]}"


def _pod_names(attributes: Mapping[str, str]) -> Iterator[str]:
    """What a pod is called; its host name is its own name, unless it shares its node's network."""
    if attributes.get(POD_UID):
        yield f"uid {attributes[POD_UID]}"
    yield _by_name(attributes)
    yield f"host {attributes[POD_NAME]}"


def _by_name(attributes: Mapping[str, str]) -> str:
    return f"pod {attributes.get(NAMESPACE_NAME, '')}/{attributes[POD_NAME]}"


def _merged(known: Pairs, meaning: Pairs) -> Pairs | None:
    """Both together in ascending key; None where they contradict each other."""
    together = dict(known)
    for key, value in meaning:
        if together.setdefault(key, value) != value:
            return None
    return tuple(sorted(together.items()))
