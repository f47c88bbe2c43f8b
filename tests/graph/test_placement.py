"""What other resources said fills in what one leaves out."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.placement import Placement

KUBELET = {"k8s.cluster.name": "eu", "k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.pod.uid": "u1", "k8s.node.name": "n1"}
CONTAINER = {**KUBELET, "container.id": "abc", "k8s.container.name": "app"}
DEPLOYED = {"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1", "k8s.deployment.name": "cart"}


def learnt(*resources: Mapping[str, str], limit: int = 100) -> Placement:
    placement = Placement(limit=limit)
    for each in resources:
        placement.learn(each)
    return placement


@pytest.mark.parametrize(
    "said", [{"k8s.pod.uid": "u1"}, {"container.id": "abc"}, {"host.name": "cart-1"}, {"k8s.namespace.name": "shop", "k8s.pod.name": "cart-1"}]
)
def test_a_resource_is_placed_by_anything_that_names_its_pod(said: dict[str, str]) -> None:
    place = learnt(CONTAINER, DEPLOYED).complete({"service.name": "cart", **said})
    assert place.items() >= {**said, "k8s.pod.name": "cart-1", "k8s.namespace.name": "shop", "k8s.cluster.name": "eu", "k8s.deployment.name": "cart"}.items()


def test_a_container_id_tells_the_container_and_a_pod_uid_does_not() -> None:
    placement = learnt(CONTAINER)
    assert placement.complete({"container.id": "abc"})["k8s.container.name"] == "app"
    assert "k8s.container.name" not in placement.complete({"k8s.pod.uid": "u1"})


def test_a_namespace_in_one_cluster_tells_the_cluster_and_in_two_it_does_not() -> None:
    assert learnt(KUBELET).complete({"k8s.namespace.name": "shop"})["k8s.cluster.name"] == "eu"
    other = {"k8s.cluster.name": "us", "k8s.namespace.name": "shop"}
    assert "k8s.cluster.name" not in learnt(KUBELET, other).complete({"k8s.namespace.name": "shop"})
    assert learnt(KUBELET, other).complete({"k8s.node.name": "n1"})["k8s.cluster.name"] == "eu"


def test_what_a_resource_says_of_itself_stands() -> None:
    assert learnt(CONTAINER).complete({"k8s.cluster.name": "own", "k8s.pod.uid": "u1"})["k8s.cluster.name"] == "own"


def test_a_host_name_that_two_pods_bear_names_neither() -> None:
    placement = learnt({**KUBELET, "k8s.pod.name": "db-0"}, {**KUBELET, "k8s.namespace.name": "web", "k8s.pod.name": "db-0", "k8s.pod.uid": "u2"})
    assert placement.complete({"host.name": "db-0"}) == {"host.name": "db-0"}


def test_a_stateful_pod_that_moves_keeps_its_place() -> None:
    placement = learnt({**KUBELET, "k8s.pod.name": "db-0"}, {**KUBELET, "k8s.pod.name": "db-0", "k8s.node.name": "n2", "k8s.pod.uid": "u2"})
    assert placement.complete({"host.name": "db-0"})["k8s.namespace.name"] == "shop"


def test_a_node_is_not_taken_for_a_pod_of_its_name() -> None:
    assert "k8s.pod.name" not in learnt(KUBELET).complete({"host.name": "cart-1", "k8s.node.name": "cart-1"})


def test_hearing_the_same_again_is_no_news() -> None:
    placement = learnt(CONTAINER, DEPLOYED)
    version = placement.version
    placement.learn(CONTAINER)
    assert placement.version == version


def test_names_heard_longest_ago_are_forgotten_first_and_counted() -> None:
    placement = learnt(*({**KUBELET, "k8s.pod.name": f"p{number}", "k8s.pod.uid": f"u{number}"} for number in range(20)), limit=12)
    assert placement.complete({"k8s.pod.uid": "u19"})["k8s.pod.name"] == "p19"
    assert "k8s.pod.name" not in placement.complete({"k8s.pod.uid": "u0"})
    assert placement.dropped["place_table_full"] > 0


RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "k8s.cluster.name": st.sampled_from(["eu", "us"]),
        "k8s.namespace.name": st.sampled_from(["shop", "web"]),
        "k8s.pod.name": st.sampled_from(["p", "q"]),
        "k8s.pod.uid": st.sampled_from(["u", "v"]),
        "k8s.node.name": st.sampled_from(["n", "m"]),
        "k8s.deployment.name": st.sampled_from(["d", "e"]),
        "container.id": st.sampled_from(["i", "j"]),
        "k8s.container.name": st.sampled_from(["app", "side"]),
        "host.name": st.sampled_from(["p", "n"]),
    },
)


@settings(max_examples=300)
@given(st.lists(RESOURCES, max_size=6), RESOURCES, st.randoms(use_true_random=False))
def test_the_order_of_learning_does_not_matter(resources: list[dict[str, str]], asked: dict[str, str], random: object) -> None:
    shuffled = list(resources)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert dict(learnt(*resources).complete(asked)) == dict(learnt(*shuffled).complete(asked))
