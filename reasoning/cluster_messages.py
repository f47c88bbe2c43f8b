"""What clusters say and believe, the list of those to visit, and room for a visit: the arrays of reasoning.cluster_propagation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reasoning.clusters import MOST_MEMBERS, MOST_TARGETS, Clusters
from reasoning.network import Bool
from schema.batches import Float64, Int32, Int64

Float32 = NDArray[np.float32]

STRONGEST = 60.0  # of a message or finding: beyond, it is as good as certain


class Messages(NamedTuple):
    """What is said and believed, changed in place.

    log_phi: Float32[p, 4], by which effects must stay silent (bit j); log_lambda: Float32[p, 4], by which causes hold (bit i);
    both 0 where no bit is set. heard: Float64[g, 4], the sum of log_lambda over a group; told: Float32[g, 4], the log marginal that its
    effects last heard of. belief: Float64[n], P(holds). log_evidence: Float64[n]. gain: Float32[c], how much a cluster's answers
    move with what it hears from its causes. moved: Float32[c], how much the messages into it moved since its last visit.
    visits: Int32[c], in this run.
    """

    log_phi: Float32
    log_lambda: Float32
    heard: Float64
    told: Float32
    belief: Float64
    log_evidence: Float64
    gain: Float32
    moved: Float32
    visits: Int32


class WorkList(NamedTuple):
    """Clusters to visit, first in first out: ring: Int32[c], waiting: bool[c]; ends: Int64[2], the first's place and how many there are.

    One that is marked as waiting without being on the list is never visited: a shard's neighbours are another's.
    touched: Int32[c], clusters visited in this run, each once.
    """

    ring: Int32
    waiting: Bool
    ends: Int64
    touched: Int32


class Scratch(NamedTuple):
    """Room for one visit. Over the cluster's members: leak, belief, is_target; over its states: silence, share, likelihood, joint, other.

    Over sets of targets as reasoning.cluster_states counts them: silent, answer; bit: Int64[4], the bit of each rank. By the ranks of a
    pair's effects, 4 times the first plus the second or again the first: heard: Float64[16, 4], the sum of log_phi, 0 where no pair has
    such effects, and behind: Float64[16, 4], the likelihood of the rest; is_heard: bool[16].
    """

    leak: Float64
    belief: Float64
    is_target: Int64
    factor: Float64
    silence: Float64
    share: Float64
    likelihood: Float64
    joint: Float64
    other: Float64
    silent: Float64
    answer: Float64
    bit: Int64
    heard: Float64
    behind: Float64
    is_heard: Bool
    by_group: Float64


def no_messages(clusters: Clusters, log_evidence: Float64) -> Messages:
    """The state before anything was said."""
    pairs, groups, count = clusters.source.size, clusters.next_group.size, clusters.first_in.size
    return Messages(
        log_phi=np.zeros((pairs, 4), np.float32),
        log_lambda=np.zeros((pairs, 4), np.float32),
        heard=np.zeros((groups, 4)),
        told=np.full((groups, 4), np.inf, np.float32),
        belief=np.zeros(clusters.leak.size),
        log_evidence=clipped(log_evidence),
        gain=np.ones(count, np.float32),
        moved=np.zeros(count, np.float32),
        visits=np.zeros(count, np.int32),
    )


def clipped(log_evidence: Float64) -> Float64:
    """Evidence as propagation takes it."""
    return np.minimum(np.maximum(log_evidence, -STRONGEST), STRONGEST)


def work_list(clusters: int) -> WorkList:
    """An empty list."""
    return WorkList(np.zeros(clusters, np.int32), np.zeros(clusters, np.bool_), np.zeros(2, np.int64), np.zeros(clusters, np.int32))


def scratch() -> Scratch:
    """Room for one visit at a time."""
    states, sets = 1 << MOST_MEMBERS, 1 << MOST_TARGETS
    return Scratch(
        leak=np.zeros(MOST_MEMBERS),
        belief=np.zeros(MOST_MEMBERS),
        is_target=np.zeros(MOST_MEMBERS, np.int64),
        factor=np.zeros((MOST_MEMBERS, MOST_MEMBERS)),
        silence=np.zeros(states),
        share=np.zeros(states),
        likelihood=np.zeros(states),
        joint=np.zeros(states),
        other=np.zeros(states),
        silent=np.zeros(sets),
        answer=np.zeros(sets),
        bit=np.zeros(MOST_TARGETS, np.int64),
        heard=np.zeros((MOST_TARGETS**2, 4)),
        behind=np.zeros((MOST_TARGETS**2, 4)),
        is_heard=np.zeros(MOST_TARGETS**2, np.bool_),
        by_group=np.zeros(4),
    )
