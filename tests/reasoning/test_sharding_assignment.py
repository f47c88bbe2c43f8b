"""Which shard owns what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.estates import STYLES, Style, synthetic_estate
from reasoning.sharding.assignment import assign
from schema.batches import Int32

NEW = -1


def _new(count: int) -> Int32:
    return np.full(count, NEW, np.int32)


@given(st.integers(1, 40), st.integers(1, 5), st.data())
def test_what_belongs_together_stays_together(count: int, shards: int, data: st.DataObject) -> None:
    unit = np.array(data.draw(st.lists(st.integers(0, 9), min_size=count, max_size=count)), np.int32)
    ends = st.lists(st.integers(0, count - 1), min_size=20, max_size=20)
    shard = assign(unit, np.array(data.draw(ends), np.int32), np.array(data.draw(ends), np.int32), shards, _new(count))
    assert ((shard >= 0) & (shard < shards)).all()
    for each in np.unique(unit):
        assert np.unique(shard[unit == each]).size == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("shards", [2, 4, 8])
def test_shards_are_balanced_and_cut_fewer_links_than_chance(style: Style, shards: int) -> None:
    network = synthetic_estate(1_000, 1, style=style).network
    shard = assign(network.cluster, network.parent, network.effect, shards, _new(len(network)))
    assert np.bincount(shard, minlength=shards).max() <= 1.15 * len(network) / shards
    across = network.cluster[network.parent] != network.cluster[network.effect]
    cut = (shard[network.parent] != shard[network.effect])[across].mean()
    assert cut <= 0.8 * (1.0 - 1.0 / shards)


def test_two_parts_without_a_link_are_never_cut() -> None:
    cause, effect = np.arange(0, 99, dtype=np.int32), np.arange(1, 100, dtype=np.int32)
    apart = cause != 49
    shard = assign(np.arange(100, dtype=np.int32), cause[apart], effect[apart], 2, _new(100))
    assert (shard[:50] == shard[0]).all()
    assert (shard[50:] == 1 - shard[0]).all()


def test_what_is_added_moves_nothing_and_goes_where_its_neighbours_are() -> None:
    network = synthetic_estate(300, 2).network
    shard = assign(network.cluster, network.parent, network.effect, 4, _new(len(network)))
    count = len(network)
    unit = np.append(network.cluster, network.cluster.max() + 1).astype(np.int32)
    neighbour = 17
    cause, effect = np.append(network.parent, neighbour).astype(np.int32), np.append(network.effect, count).astype(np.int32)
    again = assign(unit, cause, effect, 4, np.append(shard, NEW).astype(np.int32))
    np.testing.assert_array_equal(again[:count], shard)
    assert again[count] == shard[neighbour]


def test_a_lopsided_assignment_is_made_anew() -> None:
    network = synthetic_estate(300, 2).network
    shard = assign(network.cluster, network.parent, network.effect, 4, np.zeros(len(network), np.int32))
    assert np.bincount(shard, minlength=4).max() <= 1.15 * len(network) / 4
