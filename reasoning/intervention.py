"""do(): what follows from forcing defects or conditions to hold or not (Pearl 2009, ch. 3 and 7; docs/reasoning.md)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reasoning.compile import CompiledNetwork
from reasoning.counterfactual import counterfactual
from reasoning.errors import UnknownVariableError
from reasoning.inference import close_over_causes, posteriors
from reasoning.layout import Name
from reasoning.monte_carlo import blast_radius
from reasoning.network import CausalNetwork, descendants, forced
from reasoning.regions import MOST_UNCUT
from reasoning.solution import Posteriors
from schema.batches import Float64
from schema.verdicts import ConditionRef, DefectRef, Effect, Impact, Intervention, WhatIf

SMALLEST_EFFECT = 1e-3
FEWEST_WORLDS, MOST_WORLDS = 1_024, 16_384  # of a sampled impact: standard errors of at most .016 and .004
MOST_SAMPLES = 300_000_000  # worlds times variables
MOST_VARIABLES = 500_000


def forced_probabilities(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64 | None = None) -> Float64:
    """P(each variable | do(values), evidence as seen under the intervention), Float64[n]; without evidence the plain prediction."""
    return _forced(network, values, log_evidence).probability


def _forced(network: CausalNetwork, values: Mapping[int, bool], log_evidence: Float64 | None = None) -> Posteriors:
    evidence = np.zeros(len(network)) if log_evidence is None else log_evidence
    return posteriors(forced(network, values), evidence, wanted=descendants(network, values))


def impact(compiled: CompiledNetwork, of: Name, random: np.random.Generator) -> Impact:
    """What a defect or condition takes down: P(condition) with it, against the same estate without it, whatever the findings say.

    Exact where the part it concerns is small enough; else from pairs of sampled worlds, with their standard error.
    """
    variable = _variable(compiled, of)
    network = compiled.network
    concerned = descendants(network, (variable,))
    close_over_causes(network, concerned)
    size = int(np.count_nonzero(concerned))
    if size <= MOST_UNCUT:
        with_it, without = (_forced(network, {variable: value}) for value in (True, False))
        if with_it.exact and without.exact:
            return Impact(of, _effects(compiled, without.probability, with_it.probability, with_it.probability, leave_out=variable))
    sampled = blast_radius(network, variable, random, worlds=max(FEWEST_WORLDS, min(MOST_WORLDS, MOST_SAMPLES // size)), most=MOST_VARIABLES)
    before, after = np.zeros((2, len(network)))
    before[sampled.variables], after[sampled.variables] = sampled.without, sampled.with_it
    effects = _effects(compiled, before, after, after, leave_out=variable)
    error = sampled.standard_error()[sampled.variables != variable].max(initial=0.0) if effects else 0.0
    return Impact(of, effects, exact=False, standard_error=float(error))


def what_if(compiled: CompiledNetwork, log_evidence: Float64, interventions: tuple[Intervention, ...], random: np.random.Generator) -> WhatIf:
    """The estate as it would be under interventions, against what is believed now; `random` where worlds are sampled. Raises UnknownVariableError."""
    values = {_variable(compiled, _name(compiled, each)): each.value for each in interventions}
    worlds = counterfactual(compiled.network, values, log_evidence, random)
    before, after = worlds.before, worlds.after
    causes = {name: float(after[place]) for place, name in enumerate(compiled.names) if isinstance(name, DefectRef) and after[place] >= SMALLEST_EFFECT}
    return WhatIf(interventions, _effects(compiled, before, after, np.abs(after - before)), causes, worlds.exact, worlds.standard_error)


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
