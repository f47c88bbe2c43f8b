"""A belief state as a value: what it was told, what was said, and what was solved of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.cluster_messages import Messages
from reasoning.clusters import Clusters, links_of
from reasoning.errors import InvalidNetworkError
from reasoning.network import CausalNetwork, FeedbackLinks, network_of
from schema.batches import Float64, Int32, Int64


class LocalNetwork(NamedTuple):
    """What a region is planned from, as `plan_region` takes it: variables: Int64[k], then local arrays."""

    variables: Int64
    leak: Float64
    parent_ptr: Int64
    parent: Int32
    strength: Float64
    log_evidence: Float64
    feedback: FeedbackLinks


@dataclass(frozen=True, slots=True)
class BeliefMemory:
    """A copy of a state: what was said, and from what each family was solved (its members, its regions, exact or not).

    unsolved, unsettled: Int32, clusters to solve again, and clusters that gave up before they came to rest.
    """

    clusters: Clusters
    messages: Messages
    evidence: Float64
    answer: Float64
    unsolved: Int32
    unsettled: Int32
    families: tuple[tuple[Int32, tuple[LocalNetwork, ...], bool], ...]


def network_behind(clusters: Clusters, feedback: FeedbackLinks) -> CausalNetwork:
    """The network that clusters stand for, an entity for each. Raises InvalidNetworkError."""
    cause, effect, strength = links_of(clusters)
    return network_of(clusters.leak, cause, effect, strength, clusters.cluster, np.zeros(clusters.leak.size, np.bool_), feedback)


def is_of(memory: BeliefMemory, network: CausalNetwork, log_evidence: Float64) -> bool:
    """Whether a copy is of a network under some evidence."""
    try:
        known = network_behind(memory.clusters, network.feedback)
    except (InvalidNetworkError, IndexError, ValueError):
        return False
    same = all(np.array_equal(getattr(known, part), getattr(network, part)) for part in ("leak", "parent_ptr", "parent", "strength"))
    return same and np.array_equal(memory.evidence, log_evidence)


def copied(arrays: Clusters | Messages) -> list[NDArray[Any]]:
    """A copy of each array, in order."""
    return [array.copy() for array in arrays]
