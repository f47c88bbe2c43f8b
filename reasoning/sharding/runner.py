"""Brings messages to rest by shards in this process, round by round, and keeps a copy of what they say for whoever solves cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reasoning.cluster_messages import Messages, no_messages
from reasoning.clusters import Clusters
from reasoning.network import CausalNetwork
from reasoning.sharding.assignment import assign, cut_share
from reasoning.sharding.parts import cut_part, facts_of
from reasoning.sharding.protocol import Batch, Report, Shard
from reasoning.sharding.shard import LocalShard
from schema.batches import Int32

Carry = Callable[[Sequence[Batch]], Sequence[Batch]]
Together = Callable[[CausalNetwork], Int32]


def at_once(sent: Sequence[Batch]) -> Sequence[Batch]:
    """Everything arrives before the next round."""
    return sent


def by_entity(network: CausalNetwork) -> Int32:
    """Variables of one entity stay together."""
    return network.cluster


class ShardRunner:
    """The `Propagation` of a BeliefState. Clusters and messages are the state's own: a copy of all that shards hold, as of the last rest.

    owner, owner_of_variable: Int32, the shard of each cluster and variable. unsettled: Int32[u], clusters that gave up in the last run before
    they came to rest. messages_sent: pairs' values that went from shard to shard so far; rounds: exchanges of the last run.
    """

    def __init__(self, shards: int, tolerance: float, together: Together = by_entity, carry: Carry = at_once) -> None:
        """tolerance: as for `settle`. together: a number for each variable of a network, Int32[n], the same for what must share a shard.

        carry: takes what was sent in a round and gives what arrives in the next; once nothing is sent it must give up what it holds.
        """
        self._count = shards
        self._tolerance = tolerance
        self._together = together
        self._carry = carry
        self._shards: list[Shard] = []
        self._structure = 0
        self._whole: tuple[Clusters, int, Messages] | None = None
        self._lives = [0] * shards
        self._order: Int32 | None = None
        self._begun: set[int] = set()
        self.owner_of_variable: Int32 = np.zeros(0, np.int32)
        self.owner: Int32 = self.owner_of_variable
        self.unsettled: Int32 = self.owner_of_variable
        self.messages_sent = 0
        self.rounds = 0

    @property
    def cut_share(self) -> float:
        """The share of pairs whose clusters belong to different shards."""
        return cut_share(self._whole[0], self.owner) if self._whole else 0.0

    def build(self, network: CausalNetwork, carried: Int32 | None) -> None:
        """Another network is to come, whose variables were called `carried` before: Int32[n], -1 where new; None: all begins anew."""
        before = np.full(len(network), -1, np.int32)
        if carried is not None:
            before[carried >= 0] = self.owner_of_variable[carried[carried >= 0]]
        self.owner_of_variable = assign(self._together(network), network.parent, network.effect, self._count, before)
        self._whole = None

    def start(self, order: Int32) -> None:
        """The next `settle` begins from nothing: all clusters are visited against the causal order, Int32[c], and along it."""
        self._order = order

    def settle(self, clusters: Clusters, messages: Messages, pending: Int32) -> tuple[Int32, Int32]:
        """Visits the pending clusters and whatever moves. Returns the clusters visited, and those that gave up before they came to rest."""
        if self._whole is None or self._whole[0].source is not clusters.source or self._whole[1] != clusters.used[0]:
            self._cut(clusters, messages)
        if self._order is not None:
            for number, shard in enumerate(self._shards):
                shard.start(self._order)
                self._begun.add(number)
            self._order = None
        concerned = np.unique(self.owner[pending]).tolist()
        facts = facts_of(clusters, messages, pending)
        for number in concerned:
            self._shards[number].learn(facts)
        involved = self._exchange(self._begun.union(concerned))
        self._begun.clear()
        reports = [self._shards[number].rest() for number in sorted(involved)]
        for report in reports:
            _note(clusters, messages, report)
        visited = [pending[:0], *(report.clusters for report in reports)]
        self.unsettled = np.sort(np.concatenate([pending[:0], *(report.unsettled for report in reports)]))
        return np.sort(np.concatenate(visited)), self.unsettled

    def lose(self, number: int) -> None:
        """A shard lost its memory. It begins again from its part of the structure and what its neighbours said last, at the next `settle`."""
        if self._whole is None:
            return
        clusters, _, messages = self._whole
        self._lives[number] += 1
        part = cut_part(clusters, no_messages(clusters, messages.log_evidence), self.owner, number, self._structure)
        again = LocalShard(part, self._tolerance, self._lives[number])
        for other in range(self._count):
            if other != number:
                again.receive(self._shards[other].latest(number))
        again.start(np.arange(self.owner.size, dtype=np.int32))
        self._shards[number] = again
        self._begun.add(number)

    def _cut(self, clusters: Clusters, messages: Messages) -> None:
        self._structure += 1
        self._lives = [0] * self._count
        self._whole = clusters, int(clusters.used[0]), messages
        self.owner = self.owner_of_variable[clusters.member[clusters.member_ptr[:-1]]]
        parts = (cut_part(clusters, messages, self.owner, number, self._structure) for number in range(self._count))
        self._shards = [LocalShard(part, self._tolerance) for part in parts]

    def _exchange(self, active: set[int]) -> set[int]:
        """Rounds until nobody has anything to say. Returns the shards that took part."""
        involved: set[int] = set()
        self.rounds = 0
        while True:
            involved |= active
            sent = [batch for number in sorted(active) for batch in self._shards[number].work()]
            self.messages_sent += sum(batch.down.size + batch.up.size for batch in sent)
            arrived = self._carry(sent)
            for batch in arrived:
                self._shards[batch.receiver].receive(batch)
            active = {number for number in active if self._shards[number].busy}.union(batch.receiver for batch in arrived)
            if not active and not sent:
                return involved
            self.rounds += 1


def _note(clusters: Clusters, messages: Messages, report: Report) -> None:
    messages.gain[report.clusters] = report.gain
    messages.belief[report.variables] = report.belief
    messages.log_phi[report.down] = report.log_phi
    change = report.log_lambda.astype(np.float64) - messages.log_lambda[report.up]
    np.add.at(messages.heard, clusters.group[report.up], change)
    messages.log_lambda[report.up] = report.log_lambda
    messages.told[report.groups] = report.told
