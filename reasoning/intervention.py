"""do(): what follows from forcing defects or conditions to hold or not (Pearl 2009, ch. 3 and 7; docs/reasoning.md)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reasoning.compile import CompiledNetwork, Name
from reasoning.counterfactual import counterfactual
from reasoning.errors import UnknownVariableError
from reasoning.inference import posteriors
from reasoning.network import CausalNetwork, descendants, forced
from schema.batches import Float64
from schema.verdicts import ConditionRef, DefectRef, Effect, Impact, Intervention, WhatIf

SMALLEST_EFFECT = 1e-3


def forced_probabilities(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64 | None = None) -> Float64:
    """P(each variable | do(values), evidence as seen under the intervention), Float64[n]; without evidence the plain prediction."""
    evidence = np.zeros(len(network)) if log_evidence is None else log_evidence
    return posteriors(forced(network, values), evidence, wanted=descendants(network, values)).probability


def impact(compiled: CompiledNetwork, of: Name) -> Impact:
    """What a defect or condition takes down: P(condition) with it, against the same estate without it, whatever the findings say."""
    variable = _variable(compiled, of)
    with_it = forced_probabilities(compiled.network, {variable: True})
    without = forced_probabilities(compiled.network, {variable: False})
    return Impact(of, _effects(compiled, without, with_it, with_it, leave_out=variable))


def what_if(compiled: CompiledNetwork, log_evidence: Float64, interventions: tuple[Intervention, ...]) -> WhatIf:
    """The estate as it would be under interventions, against what is believed now. Raises UnknownVariableError."""
    values = {_variable(compiled, _name(compiled, each)): each.value for each in interventions}
    worlds = counterfactual(compiled.network, values, log_evidence)
    before, after = worlds.before, worlds.after
    causes = {name: float(after[place]) for place, name in enumerate(compiled.names) if isinstance(name, DefectRef) and after[place] >= SMALLEST_EFFECT}
    return WhatIf(interventions, _effects(compiled, before, after, np.abs(after - before)), causes)


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
