"""Feedback links: what is left has no cycle, the strongest ways stay, nothing is lost without need."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reasoning.cycles import components, feedback_links, tenths
from reasoning.network import causal_network
from schema.batches import Float64, Int32

COUNT = 7
Links = tuple[Int32, Int32, Float64]


@st.composite
def link_sets(draw: st.DrawFn) -> Links:
    pairs = [(i, j) for i in range(COUNT) for j in range(COUNT) if i != j]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20))
    strength = draw(st.lists(st.floats(0.01, 1.0), min_size=len(chosen), max_size=len(chosen)))
    ends = np.array(chosen, np.int32).reshape(-1, 2)
    return ends[:, 0].copy(), ends[:, 1].copy(), np.array(strength, np.float64)


def reachable(cause: Int32, effect: Int32) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """reach[i, j]: there is a way from i to j. Warshall's closure, bool[n, n]."""
    reach = np.eye(COUNT, dtype=np.bool_)
    reach[cause, effect] = True
    for middle in range(COUNT):
        reach |= np.outer(reach[:, middle], reach[middle])
    return reach


@given(link_sets())
def test_what_is_left_has_no_cycle(links: Links) -> None:
    cause, effect, strength = links
    kept = ~feedback_links(COUNT, *links)
    causal_network(np.full(COUNT, 0.1), list(zip(cause[kept].tolist(), effect[kept].tolist(), strength[kept].tolist(), strict=True)))


@given(link_sets())
def test_every_link_left_out_would_close_a_cycle_of_links_at_least_as_strong(links: Links) -> None:
    cause, effect, strength = links
    kept = ~feedback_links(COUNT, *links)
    for link in np.flatnonzero(~kept):
        stronger = kept & (tenths(strength) >= tenths(strength)[link])
        assert reachable(cause[stronger], effect[stronger])[effect[link], cause[link]]


@given(link_sets())
def test_components_are_the_sets_that_reach_each_other(links: Links) -> None:
    reach = reachable(links[0], links[1])
    component = components(COUNT, links[0], links[1])
    assert ((component[:, None] == component[None, :]) == (reach & reach.T)).all()


def test_the_choice_does_not_follow_every_breath_of_traffic() -> None:
    ring = np.array([0, 1], np.int32), np.array([1, 0], np.int32)
    assert feedback_links(2, *ring, np.array([0.52, 0.58])).tolist() == feedback_links(2, *ring, np.array([0.58, 0.52])).tolist()


def test_of_two_services_that_slow_each_other_the_stronger_way_stays() -> None:
    feedback = feedback_links(2, np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.3, 0.8]))
    assert feedback.tolist() == [True, False]
