"""do(): forcing a variable cuts the links into it (Pearl 2009, ch. 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reasoning.compile import CompiledNetwork, Name
from reasoning.inference import posteriors
from reasoning.network import Bool, CausalNetwork, network_of
from schema.batches import Float64
from schema.verdicts import ConditionRef, DefectRef, Effect, Impact, Intervention, WhatIf

SMALLEST_EFFECT = 1e-3


def force(network: CausalNetwork, values: Mapping[int, bool]) -> CausalNetwork:
    """The network in which the given variables are held: no link leads into them."""
    leak = network.leak.copy()
    leak[list(values)] = [float(value) for value in values.values()]
    free = ~np.isin(network.effect, list(values))
    return network_of(leak, network.parent[free], network.effect[free], network.strength[free], network.cluster, network.is_defect)


def descendants(network: CausalNetwork, roots: Mapping[int, bool]) -> Bool:
    """The variables that the roots can influence, themselves included."""
    below = np.zeros(len(network), dtype=np.bool_)
    below[list(roots)] = True
    for variable in network.order.tolist():
        below[variable] |= bool(below[network.parents(variable)].any())
    return below


def forced_probabilities(compiled: CompiledNetwork, values: Mapping[int, bool], log_evidence: Float64) -> Float64:
    """P(each variable | do(values), evidence on what they can't influence). What they influence is predicted, not observed."""
    network = force(compiled.network, values)
    below = descendants(network, values)
    # Predictions are wanted for every descendant: a whisper of evidence makes them part of the exact solution.
    evidence = np.where(below, 1e-12, log_evidence)
    return posteriors(network, evidence).probability


def impact(compiled: CompiledNetwork, of: Name) -> Impact:
    """What a defect or condition takes down, against the same estate without it."""
    variable = compiled.index[of]
    nothing = np.zeros(len(compiled.names))
    with_it = forced_probabilities(compiled, {variable: True}, nothing)
    without = forced_probabilities(compiled, {variable: False}, nothing)
    return Impact(of, _effects(compiled, without, with_it, exclude=variable))


def what_if(compiled: CompiledNetwork, log_evidence: Float64, interventions: tuple[Intervention, ...]) -> WhatIf:
    """The estate under interventions, against what is believed now. Raises KeyError for a variable that does not exist."""
    values = {compiled.index[_name(compiled, each)]: each.value for each in interventions}
    before = posteriors(compiled.network, log_evidence).probability
    after = forced_probabilities(compiled, values, log_evidence)
    causes = {name: float(after[place]) for place, name in enumerate(compiled.names) if isinstance(name, DefectRef) and after[place] >= SMALLEST_EFFECT}
    return WhatIf(interventions, _effects(compiled, before, after), causes)


def _name(compiled: CompiledNetwork, intervention: Intervention) -> Name:
    condition = ConditionRef(intervention.entity, intervention.name)
    return condition if condition in compiled.index else DefectRef(intervention.entity, intervention.name)


def _effects(compiled: CompiledNetwork, before: Float64, after: Float64, exclude: int = -1) -> tuple[Effect, ...]:
    moved = np.abs(after - before)
    chosen = [place for place in np.argsort(-moved, kind="stable").tolist() if moved[place] >= SMALLEST_EFFECT and place != exclude]
    return tuple(Effect(name, float(before[place]), float(after[place])) for place in chosen if isinstance(name := compiled.names[place], ConditionRef))
