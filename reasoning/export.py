"""A piece of the estate's network for other tools: names, tables of bounded size, and what was found as evidence on nodes of its own.

Every condition is a leaky noisy-OR; one with many causes is an OR of noisy-ORs of a few each, which is the same distribution
(Heckerman & Breese 1996), also under do(): what is put in between belongs to the condition's own mechanism.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from reasoning.compile import CompiledNetwork
from schema.identity import EntityRef
from schema.verdicts import DefectRef, Finding

MOST_PARENTS = 6


@dataclass(frozen=True, slots=True)
class NamedNetwork:
    """Binary leaky noisy-OR variables as of event time `at`. links: (cause, effect, strength), places in `names`.

    evidence: the log-likelihood ratio of each variable's finding, 0 where there is none. left_out: links from variables that are not part of it.
    """

    at: int
    names: tuple[str, ...]
    leak: tuple[float, ...]
    links: tuple[tuple[int, int, float], ...]
    evidence: tuple[float, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Table:
    """A node with P(it is false | parents): one number for each combination of its parents' values, false before true, the last parent fastest."""

    name: str
    parents: tuple[str, ...]
    false: tuple[float, ...]


def named_network(at: int, compiled: CompiledNetwork, findings: Sequence[Finding], entities: Collection[EntityRef] | None = None) -> NamedNetwork:
    """The network of some entities, or of all: as it is solved, without feedback links and those that were ruled out."""
    inside = np.array([entities is None or name.entity in entities for name in compiled.names], np.bool_)
    place = np.cumsum(inside) - 1
    network = compiled.network
    ends = inside[network.parent] & inside[network.effect]
    evidence = np.zeros(inside.size)
    for finding in findings:
        variable = compiled.index.get(finding.condition)
        if variable is not None:
            evidence[variable] = finding.log_likelihood_ratio
    chosen = np.flatnonzero(inside)
    return NamedNetwork(
        at,
        tuple(_text(compiled, variable) for variable in chosen.tolist()),
        tuple(network.leak[chosen].tolist()),
        tuple(zip(place[network.parent[ends]].tolist(), place[network.effect[ends]].tolist(), network.strength[ends].tolist(), strict=True)),
        tuple(evidence[chosen].tolist()),
        int(np.count_nonzero(inside[network.effect] & ~inside[network.parent])),
    )


def tables(network: NamedNetwork) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The nodes, causes first within a family, none with more than MOST_PARENTS parents, and the names of those that are observed to be true."""
    causes: list[list[tuple[str, float]]] = [[] for _ in network.names]
    for cause, effect, strength in network.links:
        causes[effect].append((network.names[cause], strength))
    found: list[Table] = []
    observed = []
    for name, leak, own, ratio in zip(network.names, network.leak, causes, network.evidence, strict=True):
        found.extend(_family(name, leak, own))
        if ratio:
            observed.append(f"{name} (finding)")
            found.append(_finding(name, ratio))
    return tuple(found), tuple(observed)


def _family(name: str, leak: float, causes: Sequence[tuple[str, float]]) -> Iterator[Table]:
    level = 0
    while len(causes) > MOST_PARENTS:
        # Of a few causes each, without leak; then all of these for sure.
        level += 1
        parts = [causes[first : first + MOST_PARENTS] for first in range(0, len(causes), MOST_PARENTS)]
        for number, part in enumerate(parts):
            yield _noisy_or(f"{name} (causes {level}.{number})", 0.0, part)
        causes = [(f"{name} (causes {level}.{number})", 1.0) for number in range(len(parts))]
    yield _noisy_or(name, leak, causes)


def _noisy_or(name: str, leak: float, causes: Sequence[tuple[str, float]]) -> Table:
    silence = (1.0 - leak) * np.array([1.0])
    for _, strength in causes:
        silence = np.stack([silence, silence * (1.0 - strength)], axis=-1)
    return Table(name, tuple(cause for cause, _ in causes), tuple(silence.reshape(-1).tolist()))


def _finding(name: str, ratio: float) -> Table:
    """A node that is seen to be true; P(true | holds) / P(true | does not) is what the finding is worth."""
    worth = [0.5 * math.exp(min(-ratio, 0.0)), 0.5 * math.exp(min(ratio, 0.0))]
    return Table(f"{name} (finding)", (name,), tuple(1.0 - each for each in worth))


def bif(network: NamedNetwork) -> str:
    """The Bayesian Interchange Format. Nodes are numbered, for it has no names like ours; comments say what each is, and what is observed."""
    nodes, observed = tables(network)
    short = {table.name: f"n{number}" for number, table in enumerate(nodes)}
    lines = [f"// {_line(text)}" for text in _told(network)]
    lines += [f"// {short[table.name]}: {_line(table.name)}" for table in nodes]
    lines += [f"// observed: {short[name]} = true" for name in observed]
    lines += ["network whence {", "}"]
    for table in nodes:
        lines += [f"variable {short[table.name]} {{", "  type discrete [ 2 ] { false, true };", "}"]
    for table in nodes:
        given = f" | {', '.join(short[parent] for parent in table.parents)}" if table.parents else ""
        lines.append(f"probability ( {short[table.name]}{given} ) {{")
        for values, false in zip(itertools.product(("false", "true"), repeat=len(table.parents)), table.false, strict=True):
            row = f"({', '.join(values)})" if values else "table"
            lines.append(f"  {row} {false!r}, {1.0 - false!r};")
        lines.append("}")
    return "\n".join(lines) + "\n"


def pgmpy_module(network: NamedNetwork) -> str:
    """A Python module whose `network()` is a pgmpy DiscreteBayesianNetwork, and EVIDENCE what to ask it under."""
    nodes, observed = tables(network)
    told = "".join(f"    {text!r},\n" for text in _told(network))
    families = "".join(f"    {table.name!r}: ({list(table.parents)!r}, {list(table.false)!r}),\n" for table in nodes)
    return _MODULE.format(told=told, families=families, evidence=dict.fromkeys(observed, "true"))


_MODULE = '''"""A causal network of Whence for pgmpy: `VariableElimination(network()).query([name], evidence=EVIDENCE)`."""

from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork

ABOUT = (
{told})
STATES = ["false", "true"]
EVIDENCE = {evidence!r}
# name: (parents, P(false | parents) with false before true, the last parent fastest)
FAMILIES = {{
{families}}}


def network():
    model = DiscreteBayesianNetwork()
    model.add_nodes_from(FAMILIES)
    for name, (parents, false) in FAMILIES.items():
        model.add_edges_from((parent, name) for parent in parents)
        names = {{each: STATES for each in (name, *parents)}}
        model.add_cpds(TabularCPD(name, 2, [false, [1.0 - each for each in false]], parents or None, [2] * len(parents) or None, state_names=names))
    return model
'''


def _told(network: NamedNetwork) -> list[str]:
    told = [
        "A causal network of Whence: defects and conditions by entity, each false or true, an effect any of its causes brings about.",
        "A condition's finding is a node of its own, observed to be true. Feedback links and what a hard constraint rules out are not in it.",
    ]
    if network.left_out:
        told.append(f"It is a part: {network.left_out} links from outside are left out, so causes inside look likelier than in the whole.")
    return told


def _text(compiled: CompiledNetwork, variable: int) -> str:
    name = compiled.names[variable]
    return f"{name.entity}.{name.defect if isinstance(name, DefectRef) else name.condition}"


def _line(text: str) -> str:
    return " ".join(text.split())
