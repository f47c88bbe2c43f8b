"""What is believed of an estate, kept from change to change: only what a change touches is propagated and solved again.

Cluster belief propagation holds an estimate of everything. Around what is in doubt, cores are solved exactly under its messages.
A state that went through any number of changes equals one made anew from the last of them, but for what propagation leaves unsettled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from reasoning.belief_memory import BeliefMemory, LocalNetwork, copied, is_of, network_behind
from reasoning.causal_order import make_way, positions
from reasoning.cluster_edits import add_links, carry_over, change_strengths
from reasoning.cluster_propagation import Messages, WorkList, clipped, no_messages, predict, scratch, settle, sweep, work_list
from reasoning.clusters import Clusters, cluster_network, with_room
from reasoning.cores import SILENT, STAMPS, UNCUT, find_cores, local_network, split_core
from reasoning.errors import InvalidNetworkError
from reasoning.network import Bool, CausalNetwork, FeedbackLinks, network_of
from reasoning.regions import MOST_UNCUT, Partition, PlanCache, Region, connected, plan_region
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


@dataclass(frozen=True, slots=True)
class _Family:
    """Clusters that hang together, Int32[k] ascending, and what of them was solved exactly: one region, or several where it was too wide."""

    members: Int32
    regions: tuple[Region, ...]
    exact: bool


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
        self.unsettled = 0
        self._pending: Int32 = np.zeros(0, np.int32)
        self._unsolved: Int32 = self._pending
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
            for family in self._families.values()
        )
        clusters, messages = Clusters(*copied(self._clusters)), Messages(*copied(self._messages))
        return BeliefMemory(
            clusters, messages, self._evidence.copy(), self._answer.copy(), np.union1d(self._unsolved, self._pending).astype(np.int32), families
        )

    @property
    def probability(self) -> Float64:
        """P(holds) of every variable as of the last `settle`: Float64[n], a view that later changes write to."""
        return self._answer

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, without what cores were last solved with."""
        arrays = (
            *self._clusters,
            *self._messages,
            *self._work,
            self._answer,
            self._evidence,
            self._family_of,
            self._stamp,
            self._inside,
            self._kept,
            self._position,
        )
        return sum(array.nbytes for array in arrays)

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
        """Propagates what was told since and solves again what it touched. `unsettled`: how many clusters gave up before they came to rest.

        Raises InconsistentEvidenceError when every world is ruled out; what was touched is then solved at the next call.
        """
        if self._propagation is not None:
            touched, gave_up = self._propagation.settle(self._clusters, self._messages, self._pending)
            self.unsettled = gave_up.size
        else:
            count, self.unsettled = settle(self._clusters, self._messages, self._work, self._room, self._pending, self._settings.tolerance)
            touched = self._work.touched[:count]
        self._unsolved = np.union1d(self._unsolved, touched).astype(np.int32)
        self._pending = self._pending[:0]
        self._solve()

    def posteriors(self) -> Posteriors:
        """The beliefs as of the last `settle`."""
        regions = tuple(region for family in self._families.values() for region in family.regions)
        used = int(self._clusters.used[0])
        speaks = np.abs(self._messages.log_lambda[:used]).max(axis=1, initial=0.0) > SILENT
        one, other = (self._family_of[ends[:used][speaks]] for ends in (self._clusters.source, self._clusters.effect))
        exact = bool(((one == other) & (one >= 0)).all()) and all(family.exact for family in self._families.values())
        probability = self._answer.copy()
        with np.errstate(divide="ignore"):
            log_odds = np.log(probability) - np.log1p(-probability)
        return Posteriors(probability, exact, Partition(regions, log_odds, exact))

    def regions_with(self, cause: Int32, effect: Int32) -> tuple[Region, ...]:
        """The regions as they would be with none of these links cut, where that is not too wide."""
        one, other = self._clusters.cluster[cause], self._clusters.cluster[effect]
        members = [family.members for family in self._families.values()]
        first = [np.full_like(each, each[0]) for each in members]
        leader = connected(self._clusters.first_in.size, np.concatenate((one, *first)), np.concatenate((other, *members)))
        tied = np.unique(leader[one])
        regions = [region for family in self._families.values() if leader[family.members[0]] not in tied for region in family.regions]
        for each in tied.tolist():
            core = np.flatnonzero(leader == each).astype(np.int32)
            region = self._planned(core, UNCUT)[0]
            apart = [region for family in self._families.values() if leader[family.members[0]] == each for region in family.regions]
            regions.extend(apart if region is None else [region])
        return tuple(regions)

    def _touch(self, clusters: Int32) -> None:
        self._pending = np.union1d(self._pending, clusters)

    def _restart(self, network: CausalNetwork, log_evidence: Float64) -> None:
        self._take(network, log_evidence, cluster_network(network, SPARE))
        prior = np.full(len(network), np.nan)
        fill_forward(network.order, network.parent_ptr, network.parent, network.strength, network.leak, prior)
        predict(self._clusters, self._messages, prior)
        order = _causes_first(network, self._clusters)
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
        self._unsolved = memory.unsolved
        for number, (members, networks, exact) in enumerate(memory.families):
            regions = [plan_region(*local, network.feedback, self._plans) for local in networks]
            self._families[number] = _Family(members, tuple(region for region in regions if region is not None), exact)
            self._family_of[members] = number
        self._next_family = len(memory.families)
        if self._propagation is not None:
            self._propagation.build(network, None)

    def _rebuild(self, network: CausalNetwork, log_evidence: Float64, carried: Int32) -> None:
        clusters, messages, answer, feedback = self._clusters, self._messages, self._answer, self._feedback
        families, waiting = tuple(self._families.values()), np.union1d(self._pending, self._unsolved)
        self._take(network, log_evidence, cluster_network(network, SPARE))
        if self._propagation is not None:
            self._propagation.build(network, carried)
        fresh = carry_over(clusters, messages, carried, self._clusters, self._messages)
        stays = np.flatnonzero(carried >= 0)
        self._answer[stays] = answer[carried[stays]]
        now, cluster_now = _new_numbers(carried, fresh, clusters, self._clusters)
        self._keep_families(families, now, cluster_now)
        if not _same_links(FeedbackLinks(now[feedback.cause], now[feedback.effect], feedback.strength), network.feedback):
            ends = np.concatenate((now[feedback.cause], now[feedback.effect], network.feedback.cause, network.feedback.effect))
            self._touch(self._clusters.cluster[ends[ends >= 0]])
        self._touch(np.flatnonzero(fresh).astype(np.int32))
        self._touch(cluster_now[waiting][cluster_now[waiting] >= 0])

    def _keep_families(self, families: Sequence[_Family], now: Int32, cluster_now: Int32) -> None:
        """Families of which nothing is new stand as they were solved; those who stay of others are solved again."""
        in_order = bool((np.diff(now[now >= 0]) > 0).all())
        for family in families:
            members = cluster_now[family.members]
            if in_order and (members >= 0).all():
                regions = tuple(replace(region, variables=now[region.variables].astype(np.int64)) for region in family.regions)
                self._add_family(_Family(members, regions, family.exact))
            else:
                self._unsolved = np.union1d(self._unsolved, members[members >= 0]).astype(np.int32)

    def _add_family(self, family: _Family) -> None:
        self._families[self._next_family] = family
        self._family_of[family.members] = self._next_family
        self._next_family += 1

    def _take(self, network: CausalNetwork, log_evidence: Float64, clusters: Clusters) -> None:
        count = clusters.first_in.size
        self._network = network
        self._feedback = network.feedback
        self._evidence = log_evidence.copy()
        self._clusters = clusters
        self._messages = no_messages(clusters, log_evidence)
        self._work: WorkList = work_list(count)
        self._answer = np.zeros(clusters.leak.size)
        self._pending = self._unsolved = np.zeros(0, np.int32)
        self._families: dict[int, _Family] = {}
        self._family_of = np.full(count, -1, np.int32)
        self._next_family = self._now = 0
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
        if not _same_links(self._feedback, network.feedback):
            for back in (self._feedback, network.feedback):
                self._touch(self._clusters.cluster[np.concatenate((back.cause, back.effect))])
            self._feedback = network.feedback

    def _solve(self) -> None:
        """Solves the families of `_unsolved` again. A family is looked at whole: what leaves it needs an answer too."""
        seeds = self._across_feedback(self._without_families(self._unsolved))
        self._unsolved = seeds
        self._now += STAMPS
        settings = self._settings
        members, start, threshold = find_cores(
            self._clusters, self._messages, seeds, settings.influence, settings.most_uncut, self._stamp, self._now, self._answer
        )
        cores = [members[first:last] for first, last in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
        for core, cut_below in self._joined_by_feedback(cores, threshold):
            if (self._family_of[core] >= 0).any():
                self._unsolved = np.union1d(self._unsolved, self._without_families(core))
            regions, exact = self._solve_core(core, cut_below)
            self._add_family(_Family(core, tuple(regions), exact))
        self._unsolved = self._unsolved[:0]

    def _without_families(self, clusters: Int32) -> Int32:
        """Disbands the families of some clusters. Returns the clusters together with all that were in those."""
        gone = [self._families.pop(family).members for family in np.unique(self._family_of[clusters]).tolist() if family >= 0]
        for members in gone:
            self._family_of[members] = -1
        return np.unique(np.concatenate((clusters, *gone)))

    def _across_feedback(self, seeds: Int32) -> Int32:
        """The seeds together with what feedback ties to them, and the families of that."""
        one, other = (self._clusters.cluster[ends] for ends in (self._feedback.cause, self._feedback.effect))
        while one.size:
            near = np.isin(one, seeds) | np.isin(other, seeds)
            more = self._without_families(np.unique(np.concatenate((seeds, one[near], other[near]))))
            if more.size == seeds.size:
                break
            seeds = more
        return seeds

    def _joined_by_feedback(self, cores: list[Int32], threshold: Float64) -> Iterator[tuple[Int32, float]]:
        """Cores between which feedback can move a belief are one."""
        back, belief = self._feedback, self._messages.belief
        above, below = belief[back.cause], belief[back.effect]
        ties = 4.0 * above * (1.0 - above) * below * (1.0 - below) * back.strength >= self._settings.influence
        if not ties.any():
            yield from zip(cores, threshold.tolist(), strict=True)
            return
        core_of = np.full(self._clusters.first_in.size, -1, np.int32)
        for number, core in enumerate(cores):
            core_of[core] = number
        alone = np.unique(self._clusters.cluster[np.concatenate((back.cause[ties], back.effect[ties]))])
        alone = alone[core_of[alone] < 0]
        core_of[alone] = np.arange(len(cores), len(cores) + alone.size)
        cores = [*cores, *(alone[each : each + 1] for each in range(alone.size))]
        used = np.append(threshold, np.full(alone.size, self._settings.influence))
        one, other = (core_of[self._clusters.cluster[ends[ties]]] for ends in (back.cause, back.effect))
        leader = connected(len(cores), one, other)
        for first in np.flatnonzero(leader == np.arange(len(cores))).tolist():
            joined = np.flatnonzero(leader == first)
            yield np.sort(np.concatenate([cores[each] for each in joined.tolist()])), float(used[joined].max())

    def _planned(self, core: Int32, threshold: float) -> tuple[Region | None, Int64, bool]:
        """A core's region, None where it is too wide; its variables, and whether nothing that speaks was cut."""
        variables, leak, evidence, cause, effect, strength, uncut = local_network(
            self._clusters, self._messages, self._evidence, core, threshold, self._inside, self._kept
        )
        parent_ptr = np.concatenate(([0], np.cumsum(np.bincount(effect, minlength=variables.size)))).astype(np.int64)
        return plan_region(variables, leak, parent_ptr, cause, strength, evidence, self._feedback, self._plans), variables, uncut

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
        pieces = [self._solve_core(members[first:last], coarser)[0] for first, last in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
        return [region for piece in pieces for region in piece], False


def _same_links(one: FeedbackLinks, other: FeedbackLinks) -> bool:
    """Whether they are the same, with the same strengths."""
    return all(np.array_equal(getattr(one, part), getattr(other, part)) for part in ("cause", "effect", "strength"))


def _new_numbers(carried: Int32, fresh: Bool, old: Clusters, new: Clusters) -> tuple[Int32, Int32]:
    """What old variables are called now, and old clusters that have nothing new about them: Int32[n], Int32[c], -1 for the others."""
    now = np.full(old.cluster.size, -1, np.int32)
    stays = np.flatnonzero(carried >= 0)
    now[carried[stays]] = stays
    cluster_now = np.full(old.first_in.size, -1, np.int32)
    kept = np.flatnonzero(~fresh)
    cluster_now[old.cluster[carried[new.member[new.member_ptr[kept]]]]] = kept
    return now, cluster_now


def _causes_first(network: CausalNetwork, clusters: Clusters) -> Int32:
    """The clusters by their last variable in causal order: Int32[c]."""
    position = np.empty(len(network), np.int64)
    position[network.order] = np.arange(len(network))
    last = np.maximum.reduceat(position[clusters.member], clusters.member_ptr[:-1]) if clusters.first_in.size else position
    return np.argsort(last, kind="stable").astype(np.int32)
