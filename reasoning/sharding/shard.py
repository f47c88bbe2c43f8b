"""A shard in memory: propagation among its own clusters, under what its neighbours said last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reasoning.cluster_messages import Float32, scratch, work_list
from reasoning.cluster_propagation import MOST_VISITS, NO_END, sweep, tell, visit
from reasoning.network import Bool
from reasoning.sharding.parts import Part
from reasoning.sharding.protocol import Batch, Facts, Report
from schema.batches import Int32, Int64

INCARNATION = 32  # bits of a sequence that count the batches of one life
FREE = 1  # turns of a run in which all is brought to rest here before neighbours are told; more, and damping by visits damps nothing between shards
SAID = 1.0 / 8.0  # of the tolerance: neighbours are told sooner than a cluster is renewed, for what is not told is not there at all
LOUDER = float(np.log(2.0))  # how much a gain may change, as a log, before the neighbour is told


class LocalShard:
    """A `Shard`; owns the arrays of its part."""

    def __init__(self, part: Part, tolerance: float, incarnation: int = 0) -> None:
        """tolerance: as for `settle`. incarnation: 0, after a loss more than the last: what is said then stands above all that was said.

        A later life does not know what was said before it, so it says everything.
        """
        self._part = part
        self._clusters, self._messages = part.clusters, part.messages
        self._tolerance = tolerance
        self._sequence = incarnation << INCARNATION
        self._room = scratch()
        self._work = work_list(part.own.size + part.ghosts.size)
        self._work.waiting[part.own.size :] = True  # never to be visited here
        self._by_name = np.argsort(part.variables)
        self._touched = self._turns = 0
        self._order: Int32 | None = None
        self._swept = False
        self._pending: Int32 = np.zeros(0, np.int32)
        self._down = np.flatnonzero(self._clusters.effect >= part.own.size)  # pairs that lead out of here
        self._up = np.flatnonzero(self._clusters.source >= part.own.size)
        self._heard: Int64 = np.full(part.pairs.size, -1, np.int64)  # the sequence of what counts
        self._said_down, self._said_up = self._messages.log_phi[self._down], self._messages.log_lambda[self._up]
        self._said_gain = self._loudness()
        if incarnation:
            self._said_down[:] = self._said_up[:] = np.inf

    def start(self, order: Int32) -> None:
        """See `Shard`."""
        self._order = _places(self._part.own, order)[0].astype(np.int32)

    def learn(self, facts: Facts) -> None:
        """See `Shard`."""
        clusters, part = self._clusters, self._part
        self._pending = np.union1d(self._pending, _places(part.own, facts.clusters)[0]).astype(np.int32)
        places, known = _places(part.variables[self._by_name], facts.variables)
        clusters.leak[self._by_name[places]] = facts.leak[known]
        self._messages.log_evidence[self._by_name[places]] = facts.log_evidence[known]
        places, known = _places(part.own_links, facts.own)
        clusters.own_strength[places] = facts.own_strength[known]
        places, known = _places(part.pairs, facts.pairs)
        changed = (clusters.strength[places] != facts.strength[known]).any(axis=1)
        clusters.strength[places] = facts.strength[known]
        for pair in places[changed & (clusters.source[places] < part.own.size)].tolist():
            tell(clusters, self._messages, self._work, pair, 0.0, np.inf)

    def receive(self, batch: Batch) -> None:
        """See `Shard`."""
        if batch.structure != self._part.structure:
            return
        clusters, messages = self._clusters, self._messages
        pairs, chosen = self._news_of(batch.down, batch.sequence)
        moved = np.abs(messages.log_phi[pairs] - batch.log_phi[chosen]).max(axis=1, initial=0.0)
        messages.log_phi[pairs] = batch.log_phi[chosen]
        np.add.at(messages.moved, clusters.effect[pairs], moved * np.maximum(1.0, messages.gain[clusters.effect[pairs]]))
        pairs, chosen = self._news_of(batch.up, batch.sequence)
        change = batch.log_lambda[chosen].astype(np.float64) - messages.log_lambda[pairs]
        messages.log_lambda[pairs] = batch.log_lambda[chosen]
        np.add.at(messages.heard, clusters.group[pairs], change)
        np.add.at(messages.moved, clusters.source[pairs], np.abs(change).max(axis=1, initial=0.0))
        messages.gain[clusters.effect[pairs]] = batch.gain[chosen]

    def work(self) -> Sequence[Batch]:
        """See `Shard`."""
        arrays = (self._clusters, self._messages, self._work, self._room)
        if self._order is not None:
            sweep(*arrays, self._order[::-1].copy())
            sweep(*arrays, self._order)
            self._order, self._swept = None, True
        moved = np.flatnonzero(self._messages.moved[: self._part.own.size] > self._tolerance)
        seeds, self._pending = np.union1d(self._pending, moved).astype(np.int32), self._pending[:0]
        self._turns += 1
        self._touched = visit(*arrays, seeds, self._tolerance, self._touched, NO_END if self._turns <= FREE else 1)
        return self._say(*self._worth_saying())

    @property
    def busy(self) -> bool:
        """See `Shard`."""
        return bool(self._work.ends[1] > 0)

    def latest(self, receiver: int) -> Batch:
        """See `Shard`."""
        own = self._part.own.size
        down, up = (ends[each] - own for ends, each in ((self._clusters.effect, self._down), (self._clusters.source, self._up)))
        toward = [self._part.neighbour[each] == receiver for each in (down, up)]
        return self._batch(receiver, toward[0], toward[1])

    def rest(self) -> Report:
        """See `Shard`."""
        part, clusters, messages = self._part, self._clusters, self._messages
        touched = np.arange(part.own.size, dtype=np.int32) if self._swept else np.sort(self._work.touched[: self._touched])
        mark = np.zeros(part.own.size + part.ghosts.size, np.bool_)
        mark[touched] = True
        members = np.flatnonzero(mark[clusters.cluster])
        down, up = np.flatnonzero(mark[clusters.source]), np.flatnonzero(mark[clusters.effect])
        groups = np.unique(clusters.group[down])
        report = Report(
            clusters=part.own[touched],
            gain=messages.gain[touched],
            variables=part.variables[members],
            belief=messages.belief[members],
            down=part.pairs[down],
            log_phi=messages.log_phi[down],
            up=part.pairs[up],
            log_lambda=messages.log_lambda[up],
            groups=part.groups[groups],
            told=messages.told[groups],
            unsettled=part.own[touched[messages.visits[touched] >= MOST_VISITS]],
        )
        messages.visits[:] = 0
        self._touched, self._turns, self._swept = 0, 0, False
        return report

    def _news_of(self, named: Int32, sequence: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The pairs, by place here, of which nothing later was heard, and which of `named` they are."""
        places, known = _places(self._part.pairs, named)
        later = self._heard[places] < sequence
        self._heard[places[later]] = sequence
        return places[later], known[later]

    def _worth_saying(self) -> tuple[Bool, Bool]:
        """Which pairs out of here and into here moved enough for their neighbour: what moved is summed up over each of its clusters.

        What a neighbour hears from its causes is weighed by its gain, which is why it tells it. One who gave up moves nobody.
        """
        clusters, messages = self._clusters, self._messages
        ends = clusters.effect[self._down]
        moved = np.abs(messages.log_phi[self._down] - self._said_down).max(axis=1, initial=0.0) * np.maximum(1.0, messages.gain[ends])
        moved[messages.visits[clusters.source[self._down]] >= MOST_VISITS] = 0.0
        down = (moved > 0.0) & (self._sums(ends, moved) > self._tolerance * SAID)
        ends = clusters.source[self._up]
        moved = np.abs(messages.log_lambda[self._up] - self._said_up).max(axis=1, initial=0.0)
        tired = messages.visits[clusters.effect[self._up]] >= MOST_VISITS
        moved[tired] = 0.0
        louder = ~tired & (np.abs(self._loudness() - self._said_gain) > LOUDER)
        up = louder | (moved > 0.0) & (self._sums(ends, moved) > self._tolerance * SAID)
        return down, up

    def _sums(self, ends: Int32, moved: Float32) -> NDArray[np.float64]:
        """The sum over each cluster, of each pair's."""
        sums = np.bincount(ends, moved.astype(np.float64), self._part.own.size + self._part.ghosts.size)
        return sums[ends].astype(np.float64)

    def _loudness(self) -> Float32:
        """Log of the gain of the effects of pairs into here, as far as it is above 1."""
        loudness: Float32 = np.log(np.maximum(1.0, self._messages.gain[self._clusters.effect[self._up]]))
        return loudness

    def _say(self, down: Bool, up: Bool) -> Sequence[Batch]:
        own = self._part.own.size
        to_effects = self._part.neighbour[self._clusters.effect[self._down] - own]
        to_causes = self._part.neighbour[self._clusters.source[self._up] - own]
        receivers = np.union1d(to_effects[down], to_causes[up]).tolist()
        return [self._batch(receiver, down & (to_effects == receiver), up & (to_causes == receiver)) for receiver in receivers]

    def _batch(self, receiver: int, down: Bool, up: Bool) -> Batch:
        self._sequence += 1
        out, into = self._down[down], self._up[up]
        log_phi, log_lambda = self._messages.log_phi[out], self._messages.log_lambda[into]
        self._said_down[down], self._said_up[up] = log_phi, log_lambda
        self._said_gain[up] = self._loudness()[up]
        gain = self._messages.gain[self._clusters.effect[into]]
        return Batch(
            self._part.number, receiver, self._part.structure, self._sequence, self._part.pairs[out], log_phi, self._part.pairs[into], log_lambda, gain
        )


def _places(own: NDArray[np.int32], named: Int32) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where those of the names that are here stand among the own, ascending, and which of the names these are."""
    if not own.size:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    places = np.minimum(np.searchsorted(own, named), own.size - 1)
    known = np.flatnonzero(own[places] == named)
    return places[known], known
