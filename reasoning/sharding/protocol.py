"""What shards say to each other and to their runner. Values are absolute and numbered, so that repeats, delays and reordering are harmless."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from reasoning.cluster_messages import Float32
from schema.batches import Float64, Int32


@dataclass(frozen=True, slots=True)
class Batch:
    """What one shard says to another. Of each pair the value with the highest `sequence` counts; it has only one sender each way.

    structure: the numbering of pairs that is meant; a batch of another one is void. down: Int32[k], pairs into the receiver, with
    log_phi: Float32[k, 4]; up: Int32[u], pairs out of the receiver, with log_lambda: Float32[u, 4] and gain: Float32[u], how much what
    their effects answer moves with what they hear.
    """

    sender: int
    receiver: int
    structure: int
    sequence: int
    down: Int32
    log_phi: Float32
    up: Int32
    log_lambda: Float32
    gain: Float32


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of some clusters now: Int32[c]. A shard takes what is of its own.

    variables: Int32[v], their members, with log_evidence, leak: Float64[v]. own: Int32[w], links within them, pairs: Int32[p], links from
    and to them; with strengths Float64[w] and Float64[p, 4].
    """

    clusters: Int32
    variables: Int32
    log_evidence: Float64
    leak: Float64
    own: Int32
    own_strength: Float64
    pairs: Int32
    strength: Float64


@dataclass(frozen=True, slots=True)
class Report:
    """What a run changed in a shard: clusters: Int32[c], visited in it, with gain: Float32[c].

    variables: Int32[v] and belief: Float64[v]; down, up: Int32 pairs with log_phi, log_lambda: Float32[., 4]; groups: Int32[g] with
    told: Float32[g, 4]. unsettled: Int32[u], clusters that gave up before they came to rest.
    """

    clusters: Int32
    gain: Float32
    variables: Int32
    belief: Float64
    down: Int32
    log_phi: Float32
    up: Int32
    log_lambda: Float32
    groups: Int32
    told: Float32
    unsettled: Int32


class Shard(Protocol):
    """Owns some clusters. A run is any number of `work` and `receive`, in any order, until nobody is busy or has anything to say; then `rest`."""

    @property
    def busy(self) -> bool:
        """Whether there is work left, though no news came."""

    def start(self, order: Int32) -> None:
        """To begin from nothing: the next `work` visits all its clusters against a causal order, Int32 of clusters, and along it."""

    def learn(self, facts: Facts) -> None:
        """Takes what is known now of its clusters, and visits them at the next `work`."""

    def receive(self, batch: Batch) -> None:
        """Takes what a neighbour says, whatever of it is news."""

    def work(self) -> Sequence[Batch]:
        """Propagates what came since, and says what neighbours must hear."""

    def latest(self, receiver: int) -> Batch:
        """All it has to say to a neighbour that lost its memory."""

    def rest(self) -> Report:
        """Ends a run: what it changed. Visits, by which messages are damped, count from 0 again."""
