"""The live graph: what it remembers, what it forgets, and that the order of arrival does not matter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.live import GraphLimits, LiveGraph
from graph.observed import SECOND
from graph.saved_state import pack, unpack
from graph.sightings import sightings_arrays, sightings_of
from graph.topology import EntityObservation, RelationKey, RelationObservation, RelationStatistics, StructureEvent, TopologyDelta
from schema.identity import EntityRef


def ref(kind: str, name: str) -> EntityRef:
    return EntityRef(kind, "c", "shop", name)


CART, CHECKOUT, ORDERS = ref("service", "cart"), ref("service", "checkout"), ref("database", "orders-db/orders")
POD, NODE, CONTAINER, WORKLOAD = ref("pod", "cart-1"), ref("node", "n1"), ref("container", "cart-1/app"), ref("workload", "cart")
CALLS = RelationKey(CHECKOUT, "calls", CART)


def seen(
    key: RelationKey, time: int, source: str = "otlp.traces", confidence: float = 0.9, traffic: tuple[int, int, float] = (0, 0, 0.0)
) -> RelationObservation:
    return RelationObservation(key, source, time, confidence, *traffic)


def entity(where: EntityRef, time: int, source: str = "otlp.resource", **labels: str) -> EntityObservation:
    return EntityObservation(where, source, time, {name.replace("_", "."): value for name, value in labels.items()})


def delta(at: int, *observations: EntityObservation | RelationObservation) -> TopologyDelta:
    return TopologyDelta(
        at,
        tuple(each for each in observations if isinstance(each, EntityObservation)),
        tuple(each for each in observations if isinstance(each, RelationObservation)),
    )


def graph_of(*observations: EntityObservation | RelationObservation, limits: GraphLimits | None = None) -> LiveGraph:
    graph = LiveGraph(limits=limits or GraphLimits())
    graph.apply(delta(max(each.time for each in observations), *observations))
    return graph


def test_a_relation_implies_that_its_ends_exist() -> None:
    graph = LiveGraph()
    changes = graph.apply(delta(10, seen(CALLS, 10)))
    assert [change.event for change in changes] == [StructureEvent.ENTITY_APPEARED, StructureEvent.ENTITY_APPEARED, StructureEvent.RELATION_APPEARED]
    assert [each.ref for each in graph.entities()] == [CART, CHECKOUT]
    assert graph.find(CART) is not None


def test_the_version_counts_structural_changes_and_surer_relations_only() -> None:
    graph = graph_of(seen(CALLS, 10))
    before = graph.version
    assert graph.apply(delta(20, seen(CALLS, 20, traffic=(5, 1, 0.5)))) == ()
    assert graph.version == before
    graph.apply(delta(30, entity(CART, 30, service_version="2")))
    assert graph.version == before + 1
    assert graph.apply(delta(40, seen(CALLS, 40, confidence=0.99))) == ()
    assert graph.version == before + 2


def test_a_new_version_of_a_service_is_a_structural_change_that_says_from_what_to_what() -> None:
    graph = graph_of(entity(CART, 10, service_version="1.2"))
    (change,) = graph.apply(delta(20, entity(CART, 20, service_version="1.3")))
    assert (change.event, change.detail, change.at) == (StructureEvent.ENTITY_CHANGED, "service.version: 1.2 -> 1.3", 20)


def test_learning_an_attribute_is_no_move_from_nothing() -> None:
    graph = graph_of(seen(CALLS, 10))
    (change,) = graph.apply(delta(20, entity(CART, 20, service_version="1.2")))
    assert change.detail == "service.version: 1.2"


def test_a_rolling_deployment_changes_its_service_once() -> None:
    graph = graph_of(entity(CART, 0, service_version="1"))
    changes = [
        change
        for tick in range(1, 20)
        for change in graph.apply(delta(tick * 5 * SECOND, *(entity(CART, tick * 5 * SECOND, service_version=version) for version in ("2", "1"))))
    ]
    assert [change.detail for change in changes] == ["service.version: 1 -> 2"]


def test_a_rollback_is_seen_once_the_newer_version_went_silent() -> None:
    graph = graph_of(entity(CART, 0, service_version="1"), entity(CART, 10 * SECOND, service_version="2"))
    changes = [change for tick in range(2, 20) for change in graph.apply(delta(tick * 10 * SECOND, entity(CART, tick * 10 * SECOND, service_version="1")))]
    assert [change.detail for change in changes] == ["service.version: 2 -> 1"]
    assert changes[0].at == 80 * SECOND


def test_independent_sources_combine_their_confidence() -> None:
    graph = graph_of(seen(CALLS, 10, "otlp.traces", 0.9), seen(CALLS, 10, "otlp.metrics", 0.5), seen(CALLS, 11, "otlp.metrics", 0.4))
    relation = graph.relation(CALLS)
    assert relation is not None
    assert relation.sources == ("otlp.metrics", "otlp.traces")
    assert relation.confidence == pytest.approx(0.95)


def test_statistics_cover_the_last_windows_only() -> None:
    limits = GraphLimits(statistics_windows=3, window=5 * SECOND)
    graph = LiveGraph(limits=limits)
    for tick in range(1, 6):
        graph.apply(delta(tick * 5 * SECOND, seen(CALLS, tick * 5 * SECOND, traffic=(10 * tick, tick, 0.25))))
    relation = graph.relation(CALLS)
    assert relation is not None
    assert relation.statistics == RelationStatistics(15.0, 30 + 40 + 50, 3 + 4 + 5, 0.75)
    assert relation.statistics.request_rate == pytest.approx(8.0)


def test_a_relation_that_falls_silent_has_no_requests_rather_than_its_last_ones() -> None:
    limits = GraphLimits(statistics_windows=2, window=5 * SECOND)
    graph = graph_of(seen(CALLS, 5 * SECOND, traffic=(10, 1, 0.5)), limits=limits)
    graph.apply(delta(100 * SECOND))
    relation = graph.relation(CALLS)
    assert relation is not None
    assert relation.statistics == RelationStatistics(10.0, 0, 0, 0.0)


def test_statistics_of_a_young_relation_cover_its_life() -> None:
    relation = graph_of(seen(CALLS, 100 * SECOND, traffic=(10, 0, 0.5))).relation(CALLS)
    assert relation is not None
    assert relation.statistics == RelationStatistics(5.0, 10, 0, 0.5)


def test_two_sources_of_the_same_calls_are_not_added_up() -> None:
    graph = graph_of(seen(CALLS, 5, "otlp.traces", traffic=(100, 3, 2.0)), seen(CALLS, 5, "otlp.metrics", traffic=(90, 0, 0.0)))
    relation = graph.relation(CALLS)
    assert relation is not None
    assert relation.statistics is not None
    assert (relation.statistics.requests, relation.statistics.errors) == (100, 3)


def test_each_kind_expires_after_its_own_time_to_live() -> None:
    limits = GraphLimits(time_to_live=100, entity_time_to_live={"pod": 10}, relation_time_to_live={"runs_on": 5})
    runs_on = RelationKey(CART, "runs_on", POD)
    graph = graph_of(seen(runs_on, 0), limits=limits)
    assert graph.expire(5) == ()
    assert [change.event for change in graph.expire(6)] == [StructureEvent.RELATION_EXPIRED]
    assert [change.entity for change in graph.expire(11)] == [POD]
    assert [each.ref for each in graph.entities()] == [CART]
    assert graph.expire(100) == ()
    assert [change.entity for change in graph.expire(101)] == [CART]


def test_an_entity_that_expires_takes_its_relations_along() -> None:
    limits = GraphLimits(time_to_live=100, entity_time_to_live={"pod": 10}, relation_time_to_live={})
    graph = graph_of(seen(RelationKey(CART, "runs_on", POD), 0), limits=limits)
    assert [change.event for change in graph.expire(11)] == [StructureEvent.RELATION_EXPIRED, StructureEvent.ENTITY_EXPIRED]
    assert list(graph.relations()) == []


def test_what_comes_back_keeps_its_integer() -> None:
    graph = graph_of(entity(POD, 0))
    known = graph.find(POD)
    graph.expire(10**15)
    assert graph.entity(POD) is None
    graph.apply(delta(10**15, entity(POD, 10**15)))
    assert graph.find(POD) == known


def test_a_sighting_keeps_from_expiring() -> None:
    limits = GraphLimits(time_to_live=10, entity_time_to_live={}, relation_time_to_live={})
    graph = graph_of(entity(CART, 0), limits=limits)
    graph.expire(9)
    graph.apply(delta(9, entity(CART, 9)))
    assert graph.expire(19) == ()
    assert graph.entity(CART) is not None


def test_full_tables_refuse_and_count() -> None:
    graph = LiveGraph(limits=GraphLimits(entities=2, relations=1))
    graph.apply(delta(1, seen(CALLS, 1), seen(RelationKey(CART, "calls", CHECKOUT), 1), seen(RelationKey(CART, "queries", ORDERS), 1)))
    assert [each.ref for each in graph.entities()] == [CART, CHECKOUT]
    assert [each.key for each in graph.relations()] == [CALLS]
    assert graph.dropped == {"entities_full": 1, "relations_full": 2}
    assert [graph.intern(ref("service", name)) for name in ("a", "b", "c")] == [2, 3, -1]
    assert graph.dropped["identity_table_full"] == 1


def test_an_attribute_with_endless_values_keeps_the_latest_and_counts_the_rest() -> None:
    graph = LiveGraph()
    for time in range(20):
        graph.apply(delta(time, entity(CART, time, service_version=str(time))))
    found = graph.entity(CART)
    assert found is not None
    assert found.attributes == {"service.version": "19"}
    assert graph.dropped == {"label_values_full": 12}


def test_relations_are_found_by_their_ends_and_kind() -> None:
    queries = RelationKey(CART, "queries", ORDERS)
    graph = graph_of(seen(CALLS, 1), seen(queries, 1))
    assert [each.key for each in graph.relations(source=CART)] == [queries]
    assert [each.key for each in graph.relations(target=CART)] == [CALLS]
    assert [each.key for each in graph.relations(source=CHECKOUT, target=CART, kind="queries")] == []
    assert [each.key for each in graph.relations(kind="calls")] == [CALLS]


def test_the_neighbourhood_reaches_as_far_as_asked_in_both_directions() -> None:
    graph = graph_of(seen(CALLS, 1), seen(RelationKey(CART, "queries", ORDERS), 1))
    assert [each.ref for each in graph.neighbourhood(ORDERS, 1).entities] == [ORDERS, CART]
    assert graph.neighbourhood(ORDERS, 2) == graph.snapshot()
    assert graph.neighbourhood(NODE, 2).entities == ()


def test_entities_belong_to_the_service_they_serve() -> None:
    endpoint, path = ref("endpoint", "cart GET /cart"), ref("network_path", "checkout->cart")
    graph = graph_of(
        seen(RelationKey(endpoint, "part_of", CART), 1),
        seen(RelationKey(path, "leads_to", CART), 1),
        seen(RelationKey(CART, "runs_on", POD), 1),
        seen(RelationKey(CONTAINER, "part_of", POD), 1),
        seen(RelationKey(POD, "part_of", WORKLOAD), 1),
        seen(RelationKey(POD, "runs_on", NODE), 1),
        seen(RelationKey(CART, "queries", ORDERS), 1),
    )
    assert {each: graph.service_of(each) for each in (CART, endpoint, path, POD, CONTAINER, WORKLOAD)} == dict.fromkeys(
        (CART, endpoint, path, POD, CONTAINER, WORKLOAD), CART
    )
    assert [graph.service_of(each) for each in (ORDERS, NODE, ref("service", "unknown"), ref("pod", "unknown"))] == [
        None,
        None,
        ref("service", "unknown"),
        None,
    ]


def test_pods_that_claim_to_be_part_of_each_other_end_the_search() -> None:
    other = ref("pod", "cart-2")
    graph = graph_of(seen(RelationKey(POD, "part_of", other), 1), seen(RelationKey(other, "part_of", POD), 1))
    assert graph.service_of(POD) is None


def test_a_restored_estate_equals_the_one_that_was_stored() -> None:
    graph = graph_of(seen(CALLS, 10, "a", 0.9), seen(CALLS, 12, "b", 0.5), entity(CART, 11, service_version="1"))
    restored = LiveGraph()
    restored.restore(graph.snapshot())
    assert restored.snapshot() == graph.snapshot()
    assert restored.at == graph.at


NAMES = st.sampled_from([CART, CHECKOUT, ORDERS, POD, NODE])
TIMES = st.integers(0, 200).map(lambda tick: tick * SECOND)
ENTITIES = st.builds(
    lambda where, time, source, version: entity(where, time, source, **({"service_version": version} if version else {})),
    NAMES, TIMES, st.sampled_from("ab"), st.sampled_from(["", "1", "2", "3"]),
)  # fmt: skip
RELATIONS = st.builds(
    lambda source, kind, target, time, origin, confidence, requests: seen(
        RelationKey(source, kind, target), time, origin, confidence, (requests, requests // 2, requests * 0.1)
    ),
    NAMES, st.sampled_from(["calls", "runs_on"]), NAMES, TIMES, st.sampled_from("ab"), st.sampled_from([0.3, 0.5, 0.9]), st.integers(0, 9),
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_graph_that_recalls_its_sightings_goes_on_as_if_it_had_never_stopped(data: st.DataObject) -> None:
    observations = sorted(data.draw(st.lists(st.one_of(ENTITIES, RELATIONS), min_size=1, max_size=30)), key=lambda each: each.time)
    limits = GraphLimits(time_to_live=40 * SECOND, entity_time_to_live={"pod": 10 * SECOND}, relation_time_to_live={"calls": 20 * SECOND})
    stop = data.draw(st.integers(0, len(observations)))
    whole, before, after = (LiveGraph(limits=limits) for _ in range(3))
    for each in observations[:stop]:
        for graph in (whole, before):
            graph.expire(each.time)
            graph.apply(delta(each.time, each))
    after.restore(before.snapshot())
    after.recall(sightings_of(unpack(pack({"graph": sightings_arrays(before.sightings())}))["graph"]))
    assert after.sightings() == whole.sightings()
    for each in observations[stop:]:
        assert after.expire(each.time) == whole.expire(each.time)
        assert after.apply(delta(each.time, each)) == whole.apply(delta(each.time, each))
        assert after.sightings() == whole.sightings()


def test_a_deployment_during_downtime_is_noticed_after_a_restore() -> None:
    restored = LiveGraph()
    restored.restore(graph_of(entity(CART, 10, service_version="1")).snapshot())
    (change,) = restored.apply(delta(20, entity(CART, 20, service_version="2")))
    assert change.detail == "service.version: 1 -> 2"


def test_a_restored_estate_expires_like_any_other() -> None:
    restored = LiveGraph()
    restored.restore(graph_of(entity(CART, 10)).snapshot())
    assert [change.entity for change in restored.expire(10**15)] == [CART]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(ENTITIES, RELATIONS), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_the_order_in_which_deltas_arrive_leaves_no_trace(observations: list[EntityObservation | RelationObservation], random: object) -> None:
    deltas = [delta(each.time, each) for each in observations]
    shuffled = list(deltas)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    one, other = LiveGraph(), LiveGraph()
    for each in deltas:
        one.apply(each)
    for each in shuffled:
        other.apply(each)
    assert one.snapshot() == other.snapshot()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(ENTITIES, RELATIONS), min_size=1, max_size=30))
def test_the_changes_reported_account_for_the_whole_structure(observations: list[EntityObservation | RelationObservation]) -> None:
    graph = LiveGraph(limits=GraphLimits(time_to_live=40 * SECOND, entity_time_to_live={"pod": 10 * SECOND}, relation_time_to_live={"calls": 20 * SECOND}))
    entities: set[EntityRef] = set()
    relations: set[RelationKey] = set()
    for each in sorted(observations, key=lambda observation: observation.time):
        version, sure = graph.version, {relation.key: relation.confidence for relation in graph.relations()}
        changes = [*graph.expire(each.time), *graph.apply(delta(each.time, each))]
        surer = sure != {relation.key: relation.confidence for relation in graph.relations()}
        assert (graph.version > version) == (bool(changes) or surer)
        for change in changes:
            match change.event:
                case StructureEvent.ENTITY_APPEARED:
                    entities.add(change.entity)
                case StructureEvent.ENTITY_EXPIRED:
                    entities.remove(change.entity)
                case StructureEvent.RELATION_APPEARED if change.relation is not None:
                    relations.add(change.relation)
                case StructureEvent.RELATION_EXPIRED if change.relation is not None:
                    relations.remove(change.relation)
        assert [entity.ref for entity in graph.entities()] == sorted(entities)
        assert [relation.key for relation in graph.relations()] == sorted(relations)
        assert all(key.source in entities and key.target in entities for key in relations)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(ENTITIES, RELATIONS), min_size=1, max_size=20))
def test_readings_are_in_ascending_order_whenever_they_are_taken(observations: list[EntityObservation | RelationObservation]) -> None:
    graph = LiveGraph(limits=GraphLimits(time_to_live=40 * SECOND, entity_time_to_live={"pod": 10 * SECOND}, relation_time_to_live={"calls": 20 * SECOND}))
    for each in observations:
        graph.apply(delta(each.time, each))
        graph.expire(each.time)
        keys = [relation.key for relation in graph.relations()]
        assert [entity.ref for entity in graph.entities()] == sorted(entity.ref for entity in graph.entities())
        assert keys == sorted(keys)
        assert [relation.key for relation in graph.relations(kind="calls")] == [key for key in keys if key.kind == "calls"]
        assert sorted(key for ref in (CART, CHECKOUT, ORDERS, POD, NODE) for key in (row.key for row in graph.relations(source=ref))) == keys
