"""What changed since a version: never less than what did."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from graph.change_log import ChangeLog, Touched
from graph.live import MINUTE, LiveGraph
from graph.topology import EntityObservation, RelationKey, RelationObservation, TopologyDelta
from schema.identity import EntityRef

START = 1_700_000_000_000_000_000
SHOP, CART, POD = (EntityRef(kind, "c", "n", kind) for kind in ("service", "database", "pod"))
QUERIES, RUNS_ON = RelationKey(SHOP, "queries", CART), RelationKey(SHOP, "runs_on", POD)


def see(graph: LiveGraph, key: RelationKey, at: int = START, confidence: float = 0.5) -> None:
    graph.apply(TopologyDelta(at, (), (RelationObservation(key, "test", at, confidence),)))


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from([SHOP, CART, QUERIES])), max_size=12), st.integers(1, 6), st.integers(0, 12))
def test_what_is_told_is_all_that_changed_or_that_it_is_not_known(steps: list[tuple[int, EntityRef | RelationKey]], most: int, asked: int) -> None:
    log, version, noted = ChangeLog(most), 1, []
    for later, what in steps:
        version += later
        log.note(version, what)
        noted.append((version, what))
    found, changed = log.since(asked), {what for at, what in noted if at > asked}
    if found is None:
        assert len(changed) > most or any(at > asked for at, _ in noted[:-most])
    else:
        assert found.entities | found.relations == changed


def test_what_comes_is_told_with_its_ends() -> None:
    graph = LiveGraph()
    see(graph, QUERIES)
    version = graph.version
    assert graph.changes_since(version) == Touched(frozenset(), frozenset())
    see(graph, RUNS_ON)
    assert graph.changes_since(version) == Touched(frozenset({POD}), frozenset({RUNS_ON}))


def test_what_goes_is_told() -> None:
    graph = LiveGraph()
    see(graph, QUERIES)
    see(graph, RUNS_ON)
    version = graph.version
    see(graph, QUERIES, START + 16 * MINUTE)
    assert graph.version == version
    graph.expire(START + 16 * MINUTE)
    assert graph.changes_since(version) == Touched(frozenset({POD}), frozenset({RUNS_ON}))


def test_what_is_surer_or_older_than_it_was_known_to_be_is_told_and_moves_the_version() -> None:
    graph = LiveGraph()
    see(graph, QUERIES)
    version = graph.version
    see(graph, QUERIES, confidence=0.9)
    assert graph.version == version + 1
    assert graph.changes_since(version) == Touched(frozenset(), frozenset({QUERIES}))
    graph.apply(TopologyDelta(START, (EntityObservation(SHOP, "test", START - 1, {}),), ()))
    assert graph.changes_since(version + 1) == Touched(frozenset({SHOP}), frozenset())


def test_after_a_restart_all_is_to_be_read_again() -> None:
    graph = LiveGraph()
    see(graph, QUERIES)
    version = graph.version
    graph.restore(graph.snapshot())
    assert graph.changes_since(version) is None
