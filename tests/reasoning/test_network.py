"""Networks from links: parallel links merge, order does not matter, mistakes are told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reasoning.errors import InvalidNetworkError
from reasoning.network import causal_network, network_of, strongest_paths
from tests.reasoning.networks import Link, links_of

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(4, 6), st.floats(0.0, 1.0)), max_size=20)


@given(ROWS)
def test_parallel_links_become_one_by_noisy_or(rows: list[Link]) -> None:
    network = causal_network(np.full(7, 0.1), rows)
    found = {(cause, effect): strength for cause, effect, strength in links_of(network)}
    for pair in itertools.product(range(4), range(4, 7)):
        silence = float(np.prod([1.0 - strength for cause, effect, strength in rows if (cause, effect) == pair]))
        assert found.get(pair, 0.0) == pytest.approx(1.0 - silence, abs=1e-12)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_links_leaves_no_trace(rows: list[Link], random: object) -> None:
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's Random
    one, other = causal_network(np.full(7, 0.1), rows), causal_network(np.full(7, 0.1), shuffled)
    for name in ("parent_ptr", "parent", "strength", "effect", "child_ptr", "child_link", "order"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


@given(ROWS)
def test_both_ways_through_the_links_agree(rows: list[Link]) -> None:
    network = causal_network(np.full(7, 0.1), rows)
    for cause in range(7):
        own = network.child_link[network.child_ptr[cause] : network.child_ptr[cause + 1]]
        assert (network.parent[own] == cause).all()
    assert sorted(network.child_link.tolist()) == list(range(network.parent.size))
    place = np.argsort(network.order)
    assert (place[network.parent] < place[network.effect]).all()


def test_a_path_is_as_strong_as_the_product_of_its_links() -> None:
    network = causal_network(np.full(4, 0.1), [(0, 1, 0.5), (1, 2, 0.5), (0, 2, 0.2), (3, 2, 0.9)])
    np.testing.assert_allclose(strongest_paths(network, 0), [1.0, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(
    ("leak", "links", "told"),
    [
        ([0.1, float("nan")], [], "leak at index 1 is nan"),
        ([0.1, 1.2], [], "leak at index 1 is 1.2"),
        ([0.1, 0.1], [(0, 1, float("nan"))], "strength at index 0 is nan"),
        ([0.1, 0.1], [(0, 1, -0.5)], "strength at index 0 is -0.5"),
        ([0.1, 0.1], [(0, 2, 0.5)], "effect of link 0 is variable 2, but there are only 2"),
        ([0.1, 0.1], [(0, 1, 0.5), (1, 0, 0.5)], r"cycle among its variables \[0, 1\]"),
    ],
)
def test_a_network_that_can_not_be_is_refused(leak: list[float], links: list[Link], told: str) -> None:
    with pytest.raises(InvalidNetworkError, match=told):
        causal_network(np.array(leak), links)


def test_a_defect_has_no_causes() -> None:
    ends = np.array([0], np.int32), np.array([1], np.int32)
    with pytest.raises(InvalidNetworkError, match="a defect has no causes"):
        network_of(np.array([0.1, 0.1]), *ends, np.array([0.5]), np.zeros(2, np.int32), np.array([True, True]))


def test_a_network_can_not_be_changed_behind_the_solvers_back() -> None:
    network = causal_network(np.array([0.1, 0.1]), [(0, 1, 0.5)])
    with pytest.raises(ValueError, match="read-only"):
        network.strength[0] = 0.9
