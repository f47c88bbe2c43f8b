"""What is believed of an estate, kept from change to change: only what a change touches is propagated and solved again.

Cluster belief propagation holds an estimate of everything. Around what is in doubt, cores are solved exactly under its messages.
A state that went through any number of changes equals one made anew from the last of them, but for what propagation leaves unsettled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from reasoning.belief_memory import BeliefMemory, LocalNetwork, copied, is_of, network_behind
from reasoning.causal_order import make_way, positions
from reasoning.cluster_edits import add_links, carry_over, change_strengths, new_numbers
from reasoning.cluster_messages import Messages, WorkList, clipped, no_messages, scratch, work_list
from reasoning.cluster_propagation import predict, settle, sweep
from reasoning.clusters import Clusters, causes_first, cluster_network, with_room
from reasoning.cores import SILENT, STAMPS, UNCUT, find_cores, local_network, split_core, variables_of
from reasoning.errors import InvalidNetworkError
from reasoning.families import Families, Family
from reasoning.feedback_ties import feedback_influence, joined_by_feedback, tied_to
from reasoning.network import CausalNetwork, FeedbackLinks, network_of
from reasoning.regions import MOST_UNCUT, Partition, PlanCache, Region, connected, feedback_within, plan_region
from reasoning.solution import Posteriors, check_evidence, fill_forward, probabilities
from schema.batches import Float64, Int32, Int64

SPARE = 64  # pairs to make room for at a time, at least


@dataclass(frozen=True, slots=True)
class BeliefSettings:
    """`tolerance`: how much messages may still move, in logs, when propagation rests. Pairs that move no belief by `influence` are cut.

    `coarser`: how much `influence` grows where a core stays too wide. `most_uncut`: variables that are solved whole if they can be.
    """

    tolerance: float = 1e-3
    influence: float = 1e-4
    coarser: float = 3.0
    most_uncut: int = MOST_UNCUT


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
        self._unsolved, self._unsettled = self._pending, self._pending
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
            for family in self._families
        )
        clusters, messages = Clusters(*copied(self._clusters)), Messages(*copied(self._messages))
        return BeliefMemory(
            clusters,
            messages,
            self._evidence.copy(),
            self._answer.copy(),
            np.union1d(self._unsolved, self._pending).astype(np.int32),
            self._unsettled,
            families,
        )

    @property
    def probability(self) -> Float64:
        """P(holds) of every variable as of the last `settle`: Float64[n], a view that later changes write to."""
        return self._answer

    @property
    def unsettled(self) -> Int32:
        """Variables whose cluster gave up before it came to rest, and was not visited since: Int32[u], ascending."""
        return np.sort(variables_of(self._clusters, self._unsettled)[0]).astype(np.int32)

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, without what cores were last solved with."""
        own = (self._answer, self._evidence, self._families.of, self._stamp, self._inside, self._kept, self._position)
        return sum(array.nbytes for array in (*self._clusters, *self._messages, *self._work, *own))

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
        closing = make_way(self._clusters, self._position, cause, effect, self._inside)
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
        self._unsolved = np.union1d(self._unsolved, touched).astype(np.int32)
        self._pending = self._pending[:0]
        self._solve()

    def posteriors(self) -> Posteriors:
        """The beliefs as of the last `settle`."""
        regions = tuple(region for family in self._families for region in family.regions)
        used = int(self._clusters.used[0])
        speaks = np.abs(self._messages.log_lambda[:used]).max(axis=1, initial=0.0) > SILENT
        one, other = (self._families.of[ends[:used][speaks]] for ends in (self._clusters.source, self._clusters.effect))
        exact = bool(((one == other) & (one >= 0)).all()) and all(family.exact for family in self._families)
        probability = self._answer.copy()
        with np.errstate(divide="ignore"):
            log_odds = np.log(probability) - np.log1p(-probability)
        return Posteriors(probability, exact, Partition(regions, log_odds, exact))

    def regions_with(self, cause: Int32, effect: Int32) -> tuple[Region, ...]:
        """The regions as they would be with none of these links cut, where that is not too wide."""
        one, other = self._clusters.cluster[cause], self._clusters.cluster[effect]
        members = [family.members for family in self._families]
        first = [np.full_like(each, each[0]) for each in members]
        leader = connected(self._clusters.first_in.size, np.concatenate((one, *first)), np.concatenate((other, *members)))
        tied = np.unique(leader[one])
        regions = [region for family in self._families if leader[family.members[0]] not in tied for region in family.regions]
        for each in tied.tolist():
            core = np.flatnonzero(leader == each).astype(np.int32)
            region = self._planned(core, UNCUT)[0]
            apart = [region for family in self._families if leader[family.members[0]] == each for region in family.regions]
            regions.extend(apart if region is None else [region])
        return tuple(regions)

    def _touch(self, clusters: Int32) -> None:
        self._pending = np.union1d(self._pending, clusters)

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
        self._unsolved = np.arange(self._clusters.first_in.size, dtype=np.int32)

    def _recall(self, memory: BeliefMemory, network: CausalNetwork, log_evidence: Float64) -> None:
        self._take(network, log_evidence, Clusters(*copied(memory.clusters)))
        self._messages = Messages(*copied(memory.messages))
        self._answer[:] = memory.answer
        self._unsolved, self._unsettled = memory.unsolved, memory.unsettled
        for members, networks, exact in memory.families:
            regions = [plan_region(*local, self._plans) for local in networks]
            self._families.add(Family(members, tuple(region for region in regions if region is not None), exact))
        if self._propagation is not None:
            self._propagation.build(network, None)

    def _rebuild(self, network: CausalNetwork, log_evidence: Float64, carried: Int32) -> None:
        clusters, messages, answer, feedback = self._clusters, self._messages, self._answer, self._feedback
        families, waiting, unsettled = tuple(self._families), np.union1d(self._pending, self._unsolved), self._unsettled
        self._take(network, log_evidence, cluster_network(network, SPARE))
        if self._propagation is not None:
            self._propagation.build(network, carried)
        fresh = carry_over(clusters, messages, carried, self._clusters, self._messages)
        stays = np.flatnonzero(carried >= 0)
        self._answer[stays] = answer[carried[stays]]
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
                self._families.add(Family(members, regions, family.exact))
            else:
                self._unsolved = np.union1d(self._unsolved, members[members >= 0]).astype(np.int32)

    def _take(self, network: CausalNetwork, log_evidence: Float64, clusters: Clusters) -> None:
        count = clusters.first_in.size
        self._network = network
        self._take_feedback(network.feedback)
        self._evidence = log_evidence.copy()
        self._clusters = clusters
        self._messages = no_messages(clusters, log_evidence)
        self._work: WorkList = work_list(count)
        self._answer = np.zeros(clusters.leak.size)
        self._pending = self._unsolved = self._unsettled = np.zeros(0, np.int32)
        self._families = Families(count)
        self._now = 0
        self._stamp = np.full(count, -1, np.int32)
        self._position = positions(network.order)
        self._inside = np.full(clusters.leak.size, -1, np.int32)
        self._kept = np.zeros((clusters.next_group.size, 4))

    def _make_room(self, pairs: int) -> None:
        self._clusters = with_room(self._clusters, pairs)
        messages, clusters = self._messages, self._clusters
        more = no_messages(clusters, self._evidence)
        for old, new in ((messages.log_phi, more.log_phi), (messages.log_lambda, more.log_lambda), (messages.heard, more.heard), (messages.told, more.told)):
            new[: len(old)] = old
        self._messages = messages._replace(log_phi=more.log_phi, log_lambda=more.log_lambda, heard=more.heard, told=more.told)
        self._kept = np.zeros((clusters.next_group.size, 4))

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
            self._take_feedback(network.feedback)

    def _take_feedback(self, feedback: FeedbackLinks) -> None:
        self._feedback = feedback
        self._feedback_matters = np.zeros(len(feedback))

    def _solve(self) -> None:
        """Solves the families of `_unsolved` again. A family is looked at whole: what leaves it needs an answer too."""
        back, settings, cluster = self._feedback, self._settings, self._clusters.cluster
        if len(back):
            self._feedback_matters = feedback_influence(self._clusters, self._messages, back.cause, back.effect, back.strength)
        ties = self._ties(settings.influence)
        seeds = self._families.disband(self._unsolved)
        while True:
            self._unsolved = seeds
            self._now += STAMPS
            members, start, threshold = find_cores(
                self._clusters, self._messages, seeds, settings.influence, settings.most_uncut, self._stamp, self._now, self._answer
            )
            if not len(ties):
                break
            near, met = tied_to(np.union1d(seeds, members), ties, cluster)
            met = self._families.disband(met)
            if met.size == seeds.size:
                ties = near
                break
            seeds = met
        cores, threshold = joined_by_feedback(_pieces(members, start), threshold, ties, settings.influence, cluster)
        for core, cut_below in zip(cores, threshold.tolist(), strict=True):
            if (self._families.of[core] >= 0).any():
                self._unsolved = np.union1d(self._unsolved, self._families.disband(core))
            regions, exact = self._solve_core(core, cut_below)
            self._families.add(Family(core, tuple(regions), exact))
        self._unsolved = self._unsolved[:0]

    def _planned(self, core: Int32, threshold: float) -> tuple[Region | None, Int64, bool]:
        """A core's region, None where it is too wide; its variables, and whether nothing that speaks was cut."""
        variables, leak, evidence, cause, effect, strength, uncut = local_network(
            self._clusters, self._messages, self._evidence, core, threshold, self._inside, self._kept
        )
        parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(effect, minlength=variables.size)))).astype(np.int64)
        every = feedback = feedback_within(self._feedback, variables)
        region = plan_region(variables, leak, parent_ptr, cause, strength, evidence, feedback, self._plans)
        if region is None and len(every):
            feedback = feedback_within(self._ties(max(threshold, self._settings.influence)), variables)
            region = plan_region(variables, leak, parent_ptr, cause, strength, evidence, feedback, self._plans) if len(feedback) < len(every) else None
        return region, variables, uncut and len(feedback) == len(every)

    def _ties(self, threshold: float, core: Int32 | None = None) -> FeedbackLinks:
        """The feedback links that can move a belief by as much, those within a core or all."""
        ties = self._feedback.only(self._feedback_matters >= threshold)
        if core is None or not len(ties):
            return ties
        return ties.only(np.isin(self._clusters.cluster[ties.cause], core) & np.isin(self._clusters.cluster[ties.effect], core))

    def _solve_core(self, core: Int32, threshold: float) -> tuple[list[Region], bool]:
        """The regions that a core was solved in, and whether nothing was cut."""
        region, variables, uncut = self._planned(core, threshold)
        if region is not None:
            self._answer[variables] = probabilities(region.log_odds())
            return [region], uncut and region.complete
        coarser = self._settings.influence if threshold == UNCUT else threshold * self._settings.coarser
        if coarser > 1.0:
            self._answer[variables] = self._messages.belief[variables]
            return [], False
        self._now += STAMPS
        members, start = split_core(self._clusters, self._messages, core, coarser, self._stamp, self._now, self._answer)
        pieces, _ = joined_by_feedback(_pieces(members, start), np.full(start.size - 1, coarser), self._ties(coarser, core), coarser, self._clusters.cluster)
        return [region for piece in pieces for region in self._solve_core(piece, coarser)[0]], False


def _pieces(members: Int32, start: Int64) -> list[Int32]:
    """Each from its start to the next."""
    return [members[first:last] for first, last in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
