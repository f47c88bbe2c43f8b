"""What is believed of an estate, kept from change to change: only what a change touches is propagated and solved again.

Cluster belief propagation holds an estimate of everything. Around what is in doubt, cores are solved exactly under its messages.
A state that went through any number of changes equals one made anew from the last of them, but for what propagation leaves unsettled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from reasoning.belief_memory import BeliefMemory, LocalNetwork, copied, is_of, network_behind
from reasoning.causal_order import make_way, positions
from reasoning.cluster_edits import add_links, carry_over, change_strengths, new_numbers
from reasoning.cluster_messages import Messages, WorkList, clipped, no_messages, scratch, work_list
from reasoning.cluster_propagation import predict, settle, sweep
from reasoning.clusters import Clusters, causes_first, cluster_network, with_room
from reasoning.core_solver import BeliefSettings, CoreSolver
from reasoning.cores import SILENT
from reasoning.errors import InvalidNetworkError
from reasoning.families import Family, united
from reasoning.local_networks import variables_of
from reasoning.network import CausalNetwork, network_of
from reasoning.regions import Partition, PlanCache, Region, plan_region
from reasoning.solution import Posteriors, check_evidence, fill_forward
from schema.batches import Float64, Int32, Int64

SPARE = 64  # pairs to make room for at a time, at least


class Propagation(Protocol):
    """Who brings messages to rest in place of the state: shards (reasoning.sharding.runner)."""

    def build(self, network: CausalNetwork, carried: Int32 | None) -> None:
        """Another network is to come, whose variables were called `carried` before: Int32[n], -1 where new; None: all begins anew."""

    def start(self, order: Int32) -> None:
        """The next `settle` begins from nothing: all clusters are visited against the causal order, Int32[c], and along it."""

    def settle(self, clusters: Clusters, messages: Messages, pending: Int32) -> tuple[Int32, Int32]:
        """Visits the pending clusters and whatever moves. Returns the clusters visited, and those that gave up before they came to rest."""


class BeliefState:
    """Owns its arrays; one task uses it. Changes are told first and take effect together at `settle`."""

    def __init__(
        self,
        network: CausalNetwork,
        log_evidence: Float64,
        settings: BeliefSettings | None = None,
        plans: PlanCache | None = None,
        memory: BeliefMemory | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """log_evidence: Float64[n], as for `posteriors`. Goes on from `memory` if that is of the same network under the same evidence.

        propagation: who brings messages to rest, if not the state itself. Raises InvalidEvidenceError, and what `settle` raises.
        """
        self._settings = settings or BeliefSettings()
        self._plans = plans or PlanCache()
        self._room = scratch()
        self._propagation = propagation
        self._network: CausalNetwork | None = None  # as long as nothing but `follow` changed its links
        self._pending: Int32 = np.zeros(0, np.int32)
        self._unsettled = self._pending
        check_evidence(log_evidence, len(network))
        if memory is not None and is_of(memory, network, log_evidence):
            self._recall(memory, network, log_evidence)
        else:
            self._restart(network, log_evidence)
        self.settle()

    def memory(self) -> BeliefMemory:
        """A copy to go on from, in another process too."""
        families = tuple(
            (family.members, tuple(LocalNetwork(*(getattr(region, part) for part in LocalNetwork._fields)) for region in family.regions), family.exact)
            for family in self._cores.families
        )
        clusters, messages = Clusters(*copied(self._clusters)), Messages(*copied(self._messages))
        return BeliefMemory(
            clusters,
            messages,
            self._evidence.copy(),
            self._cores.answer.copy(),
            united(self._cores.unsolved, self._pending),
            self._unsettled,
            families,
        )

    @property
    def probability(self) -> Float64:
        """P(holds) of every variable as of the last `settle`: Float64[n], a view that later changes write to."""
        return self._cores.answer

    @property
    def unsettled(self) -> Int32:
        """Variables whose cluster gave up before it came to rest, and was not visited since: Int32[u], ascending."""
        return variables_of(self._clusters, self._unsettled)[0].astype(np.int32)

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, without what cores were last solved with."""
        arrays = (*self._clusters, *self._messages, *self._work, self._evidence, self._position)
        return self._cores.nbytes + sum(array.nbytes for array in arrays)

    def observe(self, variables: Int64, log_evidence: Float64) -> None:
        """New evidence on some variables."""
        check_evidence(log_evidence, variables.size)
        self._evidence[variables] = log_evidence
        self._messages.log_evidence[variables] = clipped(log_evidence)
        self._touch(self._clusters.cluster[variables])

    def set_leaks(self, variables: Int64, leak: Float64) -> None:
        """New priors or leaks of some variables."""
        self._clusters.leak[variables] = leak
        self._touch(self._clusters.cluster[variables])

    def set_strengths(self, cause: Int32, effect: Int32, strength: Float64) -> None:
        """New strengths of links that exist; 0 takes a link out. Raises InvalidNetworkError where there is none."""
        self._network = None
        missing = change_strengths(self._clusters, self._messages, self._work, cause, effect, strength)
        if missing >= 0:
            raise InvalidNetworkError(f"Variable {cause[missing]} is no cause of variable {effect[missing]}: use `connect` for a new link.")
        self._touch(self._clusters.cluster[cause])
        self._touch(self._clusters.cluster[effect])

    def connect(self, cause: Int32, effect: Int32, strength: Float64) -> None:
        """New links: best all of a relation at once. Raises InvalidNetworkError where one would close a cycle.

        Links between entities that had none cost what they touch; others make the structure anew.
        """
        order = np.lexsort((cause, effect))
        cause, effect, strength = cause[order], effect[order], strength[order]
        closing = make_way(self._clusters, self._position, cause, effect, self._cores.inside)
        if closing >= 0:
            raise InvalidNetworkError(f"Variable {effect[closing]} is a cause of variable {cause[closing]}: a link back would close a cycle.")
        self._network = None
        if self._clusters.used[0] + cause.size > self._clusters.source.size:
            self._make_room(cause.size + max(SPARE, self._clusters.source.size // 16))
        if add_links(self._clusters, cause, effect, strength):
            self._touch(self._clusters.cluster[cause])
            self._touch(self._clusters.cluster[effect])
            return
        old = self.network()
        links = (np.append(old.parent, cause).astype(np.int32), np.append(old.effect, effect).astype(np.int32), np.append(old.strength, strength))
        self._rebuild(network_of(old.leak, *links, old.cluster, old.is_defect, old.feedback), self._evidence, np.arange(len(old), dtype=np.int32))

    def network(self) -> CausalNetwork:
        """The network as it stands, an entity for each cluster."""
        return network_behind(self._clusters, self._feedback)

    def follow(self, network: CausalNetwork, log_evidence: Float64, carried: Int32) -> None:
        """Makes this the state of another network under other evidence, keeping what still holds.

        carried: Int32[n], what each variable was called so far, -1 where it is new. Only names that stay and links that stay save work.
        Raises InvalidEvidenceError, and then nothing has changed.
        """
        check_evidence(log_evidence, len(network))
        last = self._network
        same = last is not None and np.array_equal(last.parent_ptr, network.parent_ptr) and np.array_equal(last.parent, network.parent)
        if last is None or not same or not np.array_equal(last.cluster, network.cluster) or not np.array_equal(carried, np.arange(len(last))):
            self._rebuild(network, log_evidence, carried)
        else:
            self._change_to(last, network, log_evidence)
            self._network = network

    def settle(self) -> None:
        """Propagates what was told since and solves again what it touched. `unsettled` tells what gave up before it came to rest.

        Raises InconsistentEvidenceError when every world is ruled out; what was touched is then solved at the next call.
        """
        if self._propagation is not None:
            touched, gave_up = self._propagation.settle(self._clusters, self._messages, self._pending)
        else:
            count, tired = settle(self._clusters, self._messages, self._work, self._room, self._pending, self._settings.tolerance)
            touched, gave_up = self._work.touched[:count], self._work.touched[:tired]
        if self._unsettled.size or gave_up.size:
            self._unsettled = np.union1d(np.setdiff1d(self._unsettled, touched), gave_up)
        self._pending = self._pending[:0]
        self._cores.unsolved = united(self._cores.unsolved, touched)
        self._cores.solve()

    def posteriors(self) -> Posteriors:
        """The beliefs as of the last `settle`."""
        regions = tuple(region for family in self._cores.families for region in family.regions)
        used = int(self._clusters.used[0])
        speaks = np.abs(self._messages.log_lambda[:used]).max(axis=1, initial=0.0) > SILENT
        one, other = (self._cores.families.of[ends[:used][speaks]] for ends in (self._clusters.source, self._clusters.effect))
        exact = bool(((one == other) & (one >= 0)).all()) and all(family.exact for family in self._cores.families)
        probability = self._cores.answer.copy()
        with np.errstate(divide="ignore"):
            log_odds = np.log(probability) - np.log1p(-probability)
        return Posteriors(probability, exact, Partition(regions, log_odds, exact))

    def regions_with(self, cause: Int32, effect: Int32) -> tuple[Region, ...]:
        """The regions as they would be with none of these links cut, where that is not too wide."""
        return self._cores.regions_with(cause, effect)

    def _touch(self, clusters: Int32) -> None:
        self._pending = united(self._pending, clusters)

    def _restart(self, network: CausalNetwork, log_evidence: Float64) -> None:
        self._take(network, log_evidence, cluster_network(network, SPARE))
        prior = np.full(len(network), np.nan)
        fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, prior)
        predict(self._clusters, self._messages, prior)
        order = causes_first(network, self._clusters)
        if self._propagation is not None:
            self._propagation.build(network, None)
            self._propagation.start(order)
        else:
            sweep(self._clusters, self._messages, self._work, self._room, order[::-1].copy())
            sweep(self._clusters, self._messages, self._work, self._room, order)
            self._pending = np.flatnonzero(self._messages.moved > self._settings.tolerance).astype(np.int32)
        self._cores.unsolved = np.arange(self._clusters.first_in.size, dtype=np.int32)

    def _recall(self, memory: BeliefMemory, network: CausalNetwork, log_evidence: Float64) -> None:
        self._take(network, log_evidence, Clusters(*copied(memory.clusters)), Messages(*copied(memory.messages)))
        self._cores.answer[:] = memory.answer
        self._cores.unsolved, self._unsettled = memory.unsolved.copy(), memory.unsettled.copy()
        for members, networks, exact in memory.families:
            regions = [plan_region(*local, self._plans) for local in networks]
            self._cores.families.add(Family(members, tuple(region for region in regions if region is not None), exact))
        if self._propagation is not None:
            self._propagation.build(network, None)

    def _rebuild(self, network: CausalNetwork, log_evidence: Float64, carried: Int32) -> None:
        clusters, messages, answer, feedback = self._clusters, self._messages, self._cores.answer, self._feedback
        families, waiting, unsettled = tuple(self._cores.families), united(self._pending, self._cores.unsolved), self._unsettled
        self._take(network, log_evidence, cluster_network(network, SPARE))
        if self._propagation is not None:
            self._propagation.build(network, carried)
        fresh = carry_over(clusters, messages, carried, self._clusters, self._messages)
        stays = np.flatnonzero(carried >= 0)
        self._cores.answer[stays] = answer[carried[stays]]
        now, cluster_now = new_numbers(carried, fresh, clusters, self._clusters)
        self._keep_families(families, now, cluster_now)
        if not network.feedback.same_as(now[feedback.cause], now[feedback.effect], feedback.strength):
            ends = np.concatenate((now[feedback.cause], now[feedback.effect], network.feedback.cause, network.feedback.effect))
            self._touch(self._clusters.cluster[ends[ends >= 0]])
        self._touch(np.flatnonzero(fresh).astype(np.int32))
        self._touch(cluster_now[waiting][cluster_now[waiting] >= 0])
        self._unsettled = np.sort(cluster_now[unsettled][cluster_now[unsettled] >= 0])

    def _keep_families(self, families: Sequence[Family], now: Int32, cluster_now: Int32) -> None:
        """Families of which nothing is new stand as they were solved; those who stay of others are solved again."""
        in_order = bool((np.diff(now[now >= 0]) > 0).all())
        for family in families:
            members = cluster_now[family.members]
            if in_order and (members >= 0).all():
                regions = tuple(replace(region, variables=now[region.variables].astype(np.int64)) for region in family.regions)
                self._cores.families.add(Family(members, regions, family.exact))
            else:
                self._cores.unsolved = united(self._cores.unsolved, members[members >= 0])

    def _take(self, network: CausalNetwork, log_evidence: Float64, clusters: Clusters, messages: Messages | None = None) -> None:
        self._network = network
        self._feedback = network.feedback
        self._evidence = log_evidence.copy()
        self._clusters = clusters
        self._messages = messages or no_messages(clusters, log_evidence)
        self._work: WorkList = work_list(clusters.first_in.size)
        self._pending = self._unsettled = np.zeros(0, np.int32)
        self._position = positions(network.order)
        self._cores = CoreSolver(clusters, self._messages, self._work, self._evidence, network.feedback, self._settings, self._plans)

    def _make_room(self, pairs: int) -> None:
        self._clusters = with_room(self._clusters, pairs)
        messages, clusters = self._messages, self._clusters
        more = no_messages(clusters, self._evidence)
        for old, new in ((messages.log_phi, more.log_phi), (messages.log_lambda, more.log_lambda), (messages.heard, more.heard), (messages.told, more.told)):
            new[: len(old)] = old
        self._messages = messages._replace(log_phi=more.log_phi, log_lambda=more.log_lambda, heard=more.heard, told=more.told)
        self._cores.take_arrays(clusters, self._messages)

    def _change_to(self, last: CausalNetwork, network: CausalNetwork, log_evidence: Float64) -> None:
        links = np.flatnonzero(last.strength != network.strength)
        if links.size:
            self.set_strengths(network.parent[links], network.effect[links], network.strength[links])
        leaks = np.flatnonzero(self._clusters.leak != network.leak)
        self.set_leaks(leaks, network.leak[leaks])
        findings = np.flatnonzero(self._evidence != log_evidence)
        self.observe(findings, log_evidence[findings])
        if not network.feedback.same_as(self._feedback.cause, self._feedback.effect, self._feedback.strength):
            for back in (self._feedback, network.feedback):
                self._touch(self._clusters.cluster[np.concatenate((back.cause, back.effect))])
            self._feedback = network.feedback
            self._cores.take_feedback(network.feedback)
