"""The cores of a belief state: which there are under its messages, how each was solved, and what is believed by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.cluster_messages import Messages, WorkList, scratch
from reasoning.cluster_propagation import settle_within
from reasoning.clusters import Clusters, pairs_of
from reasoning.cores import STAMPS, UNCUT, find_cores, split_core
from reasoning.families import Families, Family, united
from reasoning.feedback_ties import feedback_influence, joined_by_feedback, tied_to
from reasoning.local_networks import local_network
from reasoning.network import FeedbackLinks
from reasoning.regions import MOST_UNCUT, PlanCache, Region, connected, feedback_within, plan_region
from reasoning.solution import probabilities
from schema.batches import Float64, Int32, Int64

FINER, FINEST = 0.01, 2e-5  # the share of the tolerance to which a core is settled before it is cut; below the second, 32 bits find no rest


@dataclass(frozen=True, slots=True)
class BeliefSettings:
    """`tolerance`: how much messages may still move, in logs, when propagation rests. Pairs that move no belief by `influence` are cut.

    `coarser`: how much `influence` grows where a core stays too wide. `most_uncut`: variables that are solved whole if they can be.
    """

    tolerance: float = 1e-3
    influence: float = 1e-4
    coarser: float = 1.5
    most_uncut: int = MOST_UNCUT


class CoreSolver:
    """Shares the clusters, messages, empty work list and evidence of a state with it.

    answer: Float64[n], P(holds) as of the last `solve`. families: what was solved together. unsolved: Int32[u], clusters whose cores the
    next `solve` finds and solves. inside: Int32[n], room to work, -1 everywhere.
    """

    def __init__(
        self,
        clusters: Clusters,
        messages: Messages,
        work: WorkList,
        log_evidence: Float64,
        feedback: FeedbackLinks,
        settings: BeliefSettings,
        plans: PlanCache,
    ) -> None:
        count = clusters.first_in.size
        self.answer = np.zeros(clusters.leak.size)
        self.families = Families(count)
        self.unsolved: Int32 = np.zeros(0, np.int32)
        self._work = work
        self._room = scratch()
        self._evidence = log_evidence
        self._settings = settings
        self._plans = plans
        self._now = 0
        self._stamp = np.full(count, -1, np.int32)
        self.inside = np.full(clusters.leak.size, -1, np.int32)
        self.take_arrays(clusters, messages)
        self.take_feedback(feedback)

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take, without what cores were last solved with."""
        return self.families.nbytes + sum(array.nbytes for array in (self.answer, self._stamp, self.inside, self._kept))

    def take_arrays(self, clusters: Clusters, messages: Messages) -> None:
        """The same clusters with room for more pairs."""
        self._clusters = clusters
        self._messages = messages
        self._kept = np.zeros((clusters.next_group.size, 4))

    def take_feedback(self, feedback: FeedbackLinks) -> None:
        """Other feedback links; whoever they touch must be unsolved."""
        self._feedback = feedback
        self._matters = np.zeros(len(feedback))

    def solve(self) -> None:
        """Solves what is unsolved. Raises InconsistentEvidenceError, and then that stays unsolved."""
        cores, threshold = self._find()
        for core, cut_below in zip(cores, threshold.tolist(), strict=True):
            whole = self.families.disband(core)
            if whole.size > core.size:
                self.unsolved = united(self.unsolved, whole)
            regions, exact = self._solve_core(core, cut_below)
            self.families.add(Family(core, tuple(regions), exact))
        self.unsolved = self.unsolved[:0]

    def regions_with(self, cause: Int32, effect: Int32) -> tuple[Region, ...]:
        """The regions as they would be with none of these links cut, where that is not too wide."""
        one, other = self._clusters.cluster[cause], self._clusters.cluster[effect]
        members = [family.members for family in self.families]
        first = [np.full_like(each, each[0]) for each in members]
        leader = connected(self._clusters.first_in.size, np.concatenate((one, *first)), np.concatenate((other, *members)))
        tied = np.unique(leader[one])
        regions = [region for family in self.families if leader[family.members[0]] not in tied for region in family.regions]
        for each in tied.tolist():
            core = np.flatnonzero(leader == each).astype(np.int32)
            region = self._planned(core, UNCUT)[0]
            apart = [region for family in self.families if leader[family.members[0]] == each for region in family.regions]
            regions.extend(apart if region is None else [region])
        return tuple(regions)

    def _find(self) -> tuple[Sequence[Int32], Float64]:
        """The cores of what is unsolved, and the influence at which each was cut. A family is looked at whole: what leaves it needs an answer too."""
        influence, cluster, back = self._settings.influence, self._clusters.cluster, self._feedback
        if len(back):
            self._matters = feedback_influence(self._clusters, self._messages, back.cause, back.effect, back.strength)
        ties = self._ties(influence)
        self.unsolved = self.families.disband(self.unsolved)
        while True:
            self._now += STAMPS
            members, start, threshold = find_cores(
                self._clusters, self._messages, self.unsolved, influence, self._settings.most_uncut, self._stamp, self._now, self.answer
            )
            if not len(ties):
                return _pieces(members, start), threshold
            near, met = tied_to(united(self.unsolved, members), ties, cluster)
            met = self.families.disband(met)
            if met.size == self.unsolved.size:
                return joined_by_feedback(_pieces(members, start), threshold, near, influence, cluster)
            self.unsolved = met

    def _solve_core(self, core: Int32, threshold: float) -> tuple[list[Region], bool]:
        """The regions that a core was solved in, and whether nothing was cut."""
        region, variables, uncut = self._planned(core, threshold)
        if region is not None:
            self.answer[variables] = probabilities(region.log_odds())
            return [region], uncut and region.complete
        if threshold <= self._settings.influence:
            self._settle_around(core)
        coarser = self._settings.influence if threshold == UNCUT else threshold * self._settings.coarser
        if coarser > 1.0:
            self.answer[variables] = self._messages.belief[variables]
            return [], False
        self._now += STAMPS
        members, start = split_core(self._clusters, self._messages, core, coarser, self._stamp, self._now, self.answer)
        pieces, _ = joined_by_feedback(_pieces(members, start), np.full(start.size - 1, coarser), self._ties(coarser, core), coarser, self._clusters.cluster)
        return [region for piece in pieces for region in self._solve_core(piece, coarser)[0]], False

    def _settle_around(self, core: Int32) -> None:
        """Where to cut a core hangs on small differences in what it says and hears: what is left of the way to rest must not decide it."""
        pairs = pairs_of(self._clusters, core)
        near = np.unique(np.concatenate((core, self._clusters.source[pairs], self._clusters.effect[pairs])))
        settle_within(self._clusters, self._messages, self._work, self._room, near, max(FINER * self._settings.tolerance, FINEST))

    def _planned(self, core: Int32, threshold: float) -> tuple[Region | None, Int64, bool]:
        """A core's region, None where it is too wide; its variables, and whether nothing that speaks was cut."""
        variables, leak, parent_ptr, parent, strength, evidence, uncut = local_network(
            self._clusters, self._messages, self._evidence, core, threshold, self.inside, self._kept
        )
        every = feedback = feedback_within(self._feedback, variables)
        region = plan_region(variables, leak, parent_ptr, parent, strength, evidence, feedback, self._plans)
        if region is None and len(every):
            feedback = feedback_within(self._ties(max(threshold, self._settings.influence)), variables)
            if len(feedback) < len(every):
                region = plan_region(variables, leak, parent_ptr, parent, strength, evidence, feedback, self._plans)
        return region, variables, uncut and len(feedback) == len(every)

    def _ties(self, threshold: float, core: Int32 | None = None) -> FeedbackLinks:
        """The feedback links that can move a belief by as much, those within a core or all."""
        if not len(self._feedback):
            return self._feedback
        ties = self._feedback.only(self._matters >= threshold)
        if core is None or not len(ties):
            return ties
        return ties.only(np.isin(self._clusters.cluster[ties.cause], core) & np.isin(self._clusters.cluster[ties.effect], core))


def _pieces(members: Int32, start: Int64) -> list[Int32]:
    """Each from its start to the next."""
    return [members[first:last] for first, last in zip(start[:-1].tolist(), start[1:].tolist(), strict=True)]
