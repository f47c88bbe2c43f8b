"""What ingest and the resolver remember comes back from disk as it went."""

from __future__ import annotations

import pytest

from graph.resolver import Resolver
from graph.saved_state import SavedStateError, pack, unpack
from ingest.assembler import AssemblerSettings, WindowAssembler
from ingest.memory import memory_arrays, memory_of
from schema.batches import Resource
from tests.ingest.telemetry import SERVER, START, Estate, batch, service, span
from tests.ingest.test_samples import CONTAINER, POD, SERVICE, gauge, metrics, samples, total


def restarted(estate: Estate) -> Estate:
    """A fresh one that was given the memory of the other."""
    again = Estate()
    again.assembler.restore(memory_of(unpack(pack({"a": memory_arrays(estate.assembler.memory())}))["a"]))
    return again


def test_a_counter_goes_on_counting_from_its_last_value_and_a_share_keeps_its_limit() -> None:
    estate = Estate()
    used, name = {"db.client.connection.state": "used"}, "db.client.connection.pool.name"
    estate.send(
        metrics(POD, gauge("k8s.container.restarts", ({}, 1, 4.0))), metrics(SERVICE, total("db.client.connection.max", ({name: "a"}, 1, 10), monotonic=False))
    )
    again = restarted(estate.finish(5))
    again.send(metrics(POD, gauge("k8s.container.restarts", ({}, 6, 7.0))))
    again.send(metrics(SERVICE, total("db.client.connection.count", ({**used, name: "a"}, 6, 9), monotonic=False)))
    found = samples(again.finish())
    assert found[CONTAINER, "restarts"] == [3.0]
    assert {attribute: values for (_, attribute), values in found.items()}["pool_use_share"] == [pytest.approx(0.9)]


def test_windows_that_were_closed_stay_closed() -> None:
    estate = Estate()
    estate.send(batch(span("cart", 1, 0, 1, 2, SERVER)))
    again = restarted(estate.finish(5))
    again.send(batch(span("cart", 2, 0, 3, 4, SERVER, trace=2)), batch(span("cart", 3, 0, 6, 7, SERVER, trace=3)))
    assert again.finish().requests(service("cart"))["requests"] == 1
    assert again.assembler.dropped["late"] == 1


def test_the_names_and_addresses_of_an_estate_come_back() -> None:
    attributes = {"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.pod.ip": "10.0.0.7", "service.name": "cart"}
    caller = Resource({**attributes, "k8s.pod.name": "web-1", "k8s.pod.ip": "10.0.0.8", "service.name": "web"})
    before, after, empty = Resolver(), Resolver(), Resolver()
    before.learn([Resource({**attributes, "container.id": "abc"}), caller], START)
    stored = {"db.system.name": "postgresql", "server.address": "orders-db", "db.namespace": "orders"}
    before.peer(before.resource(caller, START), stored, START)
    after.recall(unpack(pack({"names": before.memory()}))["names"])
    assert {name: array.tobytes() for name, array in after.memory().items()} == {name: array.tobytes() for name, array in before.memory().items()}
    bare = Resource({"container.id": "abc"})
    for resolver, expected in ((after, "cart"), (empty, "10.0.0.7")):
        home = resolver.resource(caller, START + 1)
        peer = resolver.peer(home, {"server.address": "10.0.0.7"}, START + 1)
        assert peer is not None
        assert peer.name == expected
    assert after.resource(bare, START + 1).pod == before.resource(bare, START + 1).pod
    assert before.resource(bare, START + 1).pod is not None


def test_malformed_memories_are_refused() -> None:
    assembler = WindowAssembler(Estate().graph, Resolver(), settings=AssemblerSettings())
    arrays = memory_arrays(assembler.memory())
    for name in arrays:
        with pytest.raises(SavedStateError, match="its series do not read"):
            memory_of({each: array for each, array in arrays.items() if each != name})
    with pytest.raises(SavedStateError, match="its names do not read"):
        Resolver().recall({})
