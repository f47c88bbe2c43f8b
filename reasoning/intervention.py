"""do(): what follows from forcing defects or conditions to hold or not (Pearl 2009, ch. 3 and 7; docs/reasoning.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from reasoning.compile import CompiledNetwork, Name
from reasoning.errors import UnknownVariableError
from reasoning.inference import posteriors
from reasoning.network import Bool, CausalNetwork, network_of, strongest_paths
from reasoning.regions import PlanCache
from schema.batches import Float64
from schema.verdicts import ConditionRef, DefectRef, Effect, Impact, Intervention, WhatIf

SMALLEST_EFFECT = 1e-3


def force(network: CausalNetwork, values: Mapping[int, bool]) -> CausalNetwork:
    """The network in which the given variables are held: no link leads into them."""
    held = list(values)
    leak = network.leak.copy()
    leak[held] = [float(value) for value in values.values()]
    free = ~np.isin(network.effect, held)
    return network_of(leak, network.parent[free], network.effect[free], network.strength[free], network.cluster, network.is_defect)


def descendants(network: CausalNetwork, values: Mapping[int, bool]) -> Bool:
    """The variables that the given ones can influence, themselves included: bool[n]."""
    below = np.zeros(len(network), np.bool_)
    for variable in values:
        below |= strongest_paths(network, variable) > 0.0
    return below


def forced_probabilities(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64 | None = None) -> Float64:
    """P(each variable | do(values), evidence as seen under the intervention), Float64[n]; without evidence the plain prediction."""
    evidence = np.zeros(len(network)) if log_evidence is None else log_evidence
    return posteriors(force(network, values), evidence, wanted=descendants(network, values)).probability


def counterfactual_probabilities(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64) -> tuple[Float64, Float64]:
    """What is believed, and what would be had the values been forced: Float64[n] twice. The evidence is of the world as it is.

    Abduction: every defect and every unexplained onset (leak) gets its posterior under all evidence. Action: the values are
    forced. Prediction: forward, with and without the force. Since causes only ever add, a condition that holds now still would
    with P(forced) / P(not forced); one that does not hold now would with the like ratio of the complements. What the force does
    not reach keeps its posterior. Approximate in one thing: the posteriors of the causes are carried over one by one.
    """
    rooted = _with_leaks_as_roots(network)
    below = descendants(rooted, values)
    nothing = np.zeros(len(rooted))
    plans = PlanCache()
    found = posteriors(rooted, np.append(log_evidence, nothing[len(network) :]), wanted=below, plans=plans).probability
    is_root = np.diff(rooted.parent_ptr) == 0
    believed = replace(rooted, leak=np.where(is_root, found, 0.0))
    usual = posteriors(believed, nothing, wanted=below, plans=plans).probability
    changed = posteriors(force(believed, values), nothing, wanted=below, plans=plans).probability
    after = np.where(below, _moved(found, usual, changed), found)
    after[list(values)] = [float(value) for value in values.values()]
    return found[: len(network)], after[: len(network)]


def impact(compiled: CompiledNetwork, of: Name) -> Impact:
    """What a defect or condition takes down: P(condition) with it, against the same estate without it, whatever the findings say."""
    variable = _variable(compiled, of)
    with_it = forced_probabilities(compiled.network, {variable: True})
    without = forced_probabilities(compiled.network, {variable: False})
    return Impact(of, _effects(compiled, without, with_it, with_it, leave_out=variable))


def what_if(compiled: CompiledNetwork, log_evidence: Float64, interventions: tuple[Intervention, ...]) -> WhatIf:
    """The estate as it would be under interventions, against what is believed now. Raises UnknownVariableError."""
    values = {_variable(compiled, _name(compiled, each)): each.value for each in interventions}
    before, after = counterfactual_probabilities(compiled.network, values, log_evidence)
    causes = {name: float(after[place]) for place, name in enumerate(compiled.names) if isinstance(name, DefectRef) and after[place] >= SMALLEST_EFFECT}
    return WhatIf(interventions, _effects(compiled, before, after, np.abs(after - before)), causes)


def _with_leaks_as_roots(network: CausalNetwork) -> CausalNetwork:
    """The same network where what nothing known caused has a cause of its own: roots n, n + 1, ... with a link of strength 1 each."""
    leaky = np.flatnonzero((np.diff(network.parent_ptr) > 0) & (network.leak > 0.0))
    leak = np.append(network.leak, network.leak[leaky])
    leak[leaky] = 0.0
    return network_of(
        leak,
        np.append(network.parent, np.arange(len(network), leak.size)).astype(np.int32),
        np.append(network.effect, leaky).astype(np.int32),
        np.append(network.strength, np.ones(leaky.size)),
        np.append(network.cluster, network.cluster[leaky]),
        np.append(network.is_defect, np.ones(leaky.size, np.bool_)),
    )


def _moved(before: Float64, usual: Float64, changed: Float64) -> Float64:
    """A belief carried along with a prediction that moved from `usual` to `changed`, all Float64[n]."""
    fallen = before * np.minimum(changed / np.maximum(usual, 1e-300), 1.0)
    risen = 1.0 - (1.0 - before) * np.minimum((1.0 - changed) / np.maximum(1.0 - usual, 1e-300), 1.0)
    return np.where(changed < usual, fallen, np.where(changed > usual, risen, before))


def _variable(compiled: CompiledNetwork, name: Name) -> int:
    if name not in compiled.index:
        word = name.defect if isinstance(name, DefectRef) else name.condition
        raise UnknownVariableError(f"{name.entity} has no defect or condition {word!r}: ask `whence topology` for the entities there are.")
    return compiled.index[name]


def _name(compiled: CompiledNetwork, intervention: Intervention) -> Name:
    condition = ConditionRef(intervention.entity, intervention.name)
    return condition if condition in compiled.index else DefectRef(intervention.entity, intervention.name)


def _effects(compiled: CompiledNetwork, before: Float64, after: Float64, by: Float64, leave_out: int = -1) -> tuple[Effect, ...]:
    """Conditions that move, by descending `by`."""
    moved = np.abs(after - before) >= SMALLEST_EFFECT
    places = [place for place in np.argsort(-by, kind="stable").tolist() if moved[place] and place != leave_out]
    return tuple(Effect(name, float(before[place]), float(after[place])) for place in places if isinstance(name := compiled.names[place], ConditionRef))
