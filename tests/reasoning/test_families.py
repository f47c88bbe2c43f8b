"""Which cluster is in which family, against sets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reasoning.families import Families, Family, united

CLUSTERS = 12
some = st.lists(st.integers(0, CLUSTERS - 1), max_size=CLUSTERS)


@given(some, some)
def test_clusters_of_two_lists_are_united_in_order_and_each_once(one: list[int], other: list[int]) -> None:
    assert united(np.array(one, np.int32), np.array(other, np.int32)).tolist() == sorted({*one, *other})


@given(st.lists(some, max_size=8))
def test_who_leaves_a_family_takes_all_of_it_along(told: list[list[int]]) -> None:
    families, known = Families(CLUSTERS), set[frozenset[int]]()
    for each in told:
        gone = {family for family in known if family & set(each)}
        found = families.disband(np.array(each, np.int32))
        assert found.tolist() == sorted(set(each).union(*gone))
        assert (families.of[found] < 0).all()
        known -= gone
        if each:
            members = np.unique(np.array(each, np.int32))
            families.add(Family(members, (), exact=True))
            known.add(frozenset(each))
        assert {frozenset(family.members.tolist()) for family in families} == known
        assert {frozenset(np.flatnonzero(families.of == number).tolist()) for number in np.unique(families.of[families.of >= 0])} == known
