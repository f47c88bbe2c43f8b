"""Exported networks are the same distribution: pgmpy reads them and agrees, in posteriors and under do()."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reasoning.compile import compile_network
from reasoning.export import MOST_PARENTS, NamedNetwork, bif, named_network, pgmpy_module, tables
from reasoning.inference import posteriors
from reasoning.network import CausalNetwork, causal_network, forced
from schema.batches import Float64
from tests.reasoning.estates import CART, FRONT, ORDERS, ORDERS_DB, estate, knowledge, latency, slow
from tests.reasoning.networks import enumerated, links_of, reachable

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its import warns
    from pgmpy.inference import CausalInference, VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork
    from pgmpy.readwrite import BIFReader


def named(network: CausalNetwork, evidence: Float64) -> NamedNetwork:
    """Names as awkward as identities are."""
    names = tuple(f'endpoint:c/shop/cart GET /items/{{id}};"{number}".a' for number in range(len(network)))
    return NamedNetwork(0, names, tuple(network.leak.tolist()), tuple(links_of(network)), tuple(evidence.tolist()), 0)


Reader = Callable[[NamedNetwork], tuple[DiscreteBayesianNetwork, dict[str, str], dict[str, str]]]


def from_module(network: NamedNetwork) -> tuple[DiscreteBayesianNetwork, dict[str, str], dict[str, str]]:
    """The model, its evidence, and the node of each name."""
    space: dict[str, Any] = {}
    exec(compile(pgmpy_module(network), "exported", "exec"), space)
    return space["network"](), space["EVIDENCE"], {name: name for name in network.names}


def from_bif(network: NamedNetwork) -> tuple[DiscreteBayesianNetwork, dict[str, str], dict[str, str]]:
    text = bif(network)
    told = [line.removeprefix("// ").split(": ", 1) for line in text.splitlines() if line.startswith("// n")]
    short = {name: node for node, name in told}
    evidence = dict(line.removeprefix("// observed: ").split(" = ") for line in text.splitlines() if line.startswith("// observed: "))
    return BIFReader(string=text).get_model(), evidence, {name: short[name] for name in network.names}


def drawn(seed: int, count: int) -> tuple[CausalNetwork, Float64]:
    """A random network, and evidence on about half of it."""
    random = np.random.default_rng(seed)
    links = [(i, j, random.uniform(0.05, 0.95)) for j in range(count) for i in range(j) if random.random() < 0.4]
    evidence = np.where(random.random(count) < 0.5, random.uniform(-5.0, 5.0, count), 0.0)
    return causal_network(random.uniform(0.001, 0.3, count), links), evidence


@pytest.mark.parametrize("read", [from_module, from_bif])
@pytest.mark.parametrize("seed", range(3))
def test_pgmpy_finds_the_same_posteriors_in_what_was_exported(read: Reader, seed: int) -> None:
    network, evidence = drawn(seed, 7)
    model, observed, node = read(named(network, evidence))
    assert model.check_model()
    ours, worlds, exact = posteriors(network, evidence).probability, enumerated(network, evidence)[0], VariableElimination(model)
    for variable, name in enumerate(node.values()):
        theirs = exact.query([name], evidence=observed, show_progress=False).get_value(**{name: "true"})
        assert theirs == pytest.approx(worlds[variable], abs=1e-9)
        if evidence[reachable(network, variable)].any():
            assert theirs == pytest.approx(ours[variable], abs=1e-9)


@pytest.mark.parametrize("read", [from_module, from_bif])
@pytest.mark.parametrize("value", ["false", "true"])
def test_pgmpy_predicts_the_same_under_do(read: Reader, value: str) -> None:
    network, nothing = drawn(2, 6)[0], np.zeros(6)
    model, _, node = read(named(network, nothing))
    names, target = list(node.values()), 1
    ours = enumerated(forced(network, {target: value == "true"}), nothing)[0]
    below = np.flatnonzero(reachable(network, target)).tolist()
    assert len(below) > 2
    for variable in below:
        if variable != target:
            theirs = CausalInference(model).query([names[variable]], do={names[target]: value}, show_progress=False)
            assert theirs.get_value(**{names[variable]: "true"}) == pytest.approx(ours[variable], abs=1e-9)


def test_a_condition_with_many_causes_gets_small_tables_and_the_same_posteriors() -> None:
    causes = 3 * MOST_PARENTS + 2
    links = [(cause, causes, 0.02 + 0.03 * cause) for cause in range(causes)]
    network, evidence = causal_network(np.full(causes + 1, 0.05), links), np.zeros(causes + 1)
    evidence[causes] = 3.0
    exported = named(network, evidence)
    assert max(len(table.parents) for table in tables(exported)[0]) <= MOST_PARENTS
    model, observed, node = from_module(exported)
    ours, exact = posteriors(network, evidence).probability, VariableElimination(model)
    for variable in (0, causes - 1, causes):
        name = exported.names[variable]
        assert exact.query([node[name]], evidence=observed, show_progress=False).values[1] == pytest.approx(ours[variable], abs=1e-9)


def test_many_more_causes_are_split_level_by_level() -> None:
    network = causal_network(np.full(301, 0.01), [(cause, 300, 0.1) for cause in range(300)])
    nodes, _ = tables(named(network, np.zeros(301)))
    assert max(len(table.false) for table in nodes) == 2**MOST_PARENTS
    assert nodes[-1].name.endswith('"300".a')
    assert len(nodes) < 301 + 70


def test_a_neighbourhood_says_what_it_leaves_out() -> None:
    compiled = compile_network(knowledge(), estate(), {})
    findings = [slow(FRONT, 3.0), slow(ORDERS_DB, 2.0)]
    whole = named_network(7, compiled, findings)
    assert (whole.left_out, len(whole.names), whole.at) == (0, len(compiled.names), 7)
    part = named_network(7, compiled, findings, {FRONT, CART})
    assert part.left_out == 1
    assert {name.partition(".")[0] for name in part.names} == {str(FRONT), str(CART)}
    assert part.evidence[part.names.index(f"{FRONT}.latency_high")] == 3.0
    assert "1 links from outside are left out" in bif(part)
    assert "left out" not in bif(whole)
    model, observed, _ = from_module(whole)
    ours = posteriors(compiled.network, np.array(whole.evidence)).probability
    theirs = VariableElimination(model).query([f"{ORDERS}.latency_high"], evidence=observed, show_progress=False)
    assert theirs.values[1] == pytest.approx(ours[compiled.index[latency(ORDERS)]], abs=1e-9)
