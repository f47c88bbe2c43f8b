"""The inference engine: its errors against exact solutions, its calibration, and what it costs on an estate of a million variables."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.cyclic_networks import cyclic_root_error_max
from benchmarks.estates import SERVICE, STYLES, SyntheticEstate, alarm_ratio, incident, read, sample_world, synthetic_estate
from benchmarks.measure import Figures, cpu_seconds, load_average, peak_rss_mb, progress
from benchmarks.peers import peer_figures
from reasoning.belief import BeliefState
from reasoning.core_solver import BeliefSettings
from reasoning.counterfactual import counterfactual
from reasoning.elimination import marginals, plan_elimination
from reasoning.monte_carlo import blast_radius, usually
from reasoning.network import CausalNetwork, causal_network
from reasoning.solution import probabilities
from schema.batches import Float64

SERVICES_OF_150_VARIABLES, SERVICES_OF_A_MILLION = 15, 100_000
NETS_A_STYLE = 25
WORLDS = 1_500
WORLDS_A_NET = 75
FLIPS, EDITS, IMPACTS = 400, 50, 20
AT_SCALE = BeliefSettings(tolerance=1e-2, influence=1e-3)


def run() -> Figures:
    """Accuracy on 100 nets of 150 variables, calibration on 1,500 worlds, and a million variables on one core."""
    parts: dict[str, Callable[[], Figures]] = {
        "machine code": _prepare,
        "a million variables": _scale,
        "accuracy on 100 nets": _accuracy,
        "cycles": lambda: {"cyclic_root_error_max": cyclic_root_error_max()},
        "counterfactuals": lambda: {"counterfactual_error_max": _counterfactual_error()},
        "calibration on 1,500 worlds": lambda: {"ece": _calibration_error()},
        "peers": peer_figures,
    }
    figures: Figures = {"load_average_at_start": load_average()}
    for name, measured in parts.items():
        progress(name)
        figures |= measured()
    progress("done")
    return figures | {"load_average_at_end": load_average(), "cpu_seconds": round(time.process_time())}


def _prepare() -> Figures:
    """Compiles what is missing in another process, as an installation does: the compiler's memory is not the engine's."""
    subprocess.run([sys.executable, "-m", "reasoning.prepare"], check=True, stdout=subprocess.DEVNULL)
    return {}


def _accuracy() -> Figures:
    """Of defects, against exact elimination of the whole net."""
    errors, same, seconds = [], [], []
    for estate, evidence in _incidents():
        network = estate.network
        plan = plan_elimination(network.parent_ptr, network.parent, 22, 1 << 26)
        assert plan is not None
        exact = probabilities(marginals(plan, network.leak, network.parent_ptr, network.strength, evidence)[0])[network.is_defect]
        start = time.process_time()
        found = BeliefState(network, evidence).probability[network.is_defect]
        seconds.append(time.process_time() - start)
        errors.append(float(np.abs(found - exact).max()))
        same.append(bool(np.argmax(found) == np.argmax(exact)))
    return {
        "root_error_mean_of_max": float(f"{statistics.mean(errors):.2g}"),
        "root_error_max": float(f"{max(errors):.2g}"),
        "top1_agreement": statistics.mean(same),
        "cold_150_variables_p50_ms": round(1e3 * statistics.median(seconds[1:]), 2),
    }


def _incidents() -> Iterator[tuple[SyntheticEstate, Float64]]:
    random = np.random.default_rng(11)
    for style in STYLES:
        for seed in range(NETS_A_STYLE):
            estate = synthetic_estate(SERVICES_OF_150_VARIABLES, 100 + seed, style=style, prior_scale=0.3)
            yield estate, incident(estate, 1 + seed % 3, random, missing=0.15 if seed % 2 else 0.4)[1]


def _calibration_error() -> float:
    """How far what is believed of defects is from how often it is true, over tenths of probability, weighed by their number."""
    random = np.random.default_rng(19)
    believed, true = [], []
    for seed in range(WORLDS // WORLDS_A_NET):
        estate = synthetic_estate(SERVICES_OF_150_VARIABLES, 500 + seed, prior_scale=3.0)
        network, defects = estate.network, estate.network.is_defect
        nothing, everything = np.zeros(len(network), np.bool_), np.arange(len(network))
        state = BeliefState(network, np.zeros(len(network)))
        for _ in range(WORLDS_A_NET):
            world = sample_world(network, random, nothing)
            state.observe(everything, read(estate, world, random, 0.15))
            state.settle()
            believed.append(state.probability[defects].copy())
            true.append(world[defects])
    probability, holds = np.concatenate(believed), np.concatenate(true)
    tenth = np.minimum((probability * 10).astype(np.int64), 9)
    gaps = [abs(float(probability[tenth == each].sum() - holds[tenth == each].sum())) for each in range(10)]
    return float(f"{sum(gaps) / probability.size:.2g}")


def _counterfactual_error() -> float:
    """The largest on 30 small networks, against the sum over all ways in which leaks and links can fire."""
    random = np.random.default_rng(3)
    worst = 0.0
    for _ in range(30):
        links = [(cause, effect, float(random.uniform(0.2, 0.9))) for effect in range(2, 5) for cause in random.choice(effect, 2, replace=False).tolist()]
        network, evidence = causal_network(random.uniform(0.05, 0.4, 5), links), random.uniform(-2.0, 3.0, 5)
        forced, value = int(random.integers(5)), bool(random.integers(2))
        found = counterfactual(network, {forced: value}, evidence, random).after
        worst = max(worst, float(np.abs(found - _enumerated_counterfactual(network, forced, value=value, log_evidence=evidence)).max()))
    return float(f"{worst:.2g}")


def _enumerated_counterfactual(network: CausalNetwork, forced: int, *, value: bool, log_evidence: Float64) -> Float64:
    chances = np.concatenate((network.leak, network.strength))
    luck = np.array(list(itertools.product((False, True), repeat=chances.size)))
    weight = np.where(luck, chances, 1.0 - chances).prod(axis=1)
    worlds = []
    for held in (None, forced):
        holds = luck[:, : len(network)].copy()
        for x in network.order.tolist():
            for link in range(int(network.parent_ptr[x]), int(network.parent_ptr[x + 1])):
                holds[:, x] |= luck[:, len(network) + link] & holds[:, network.parent[link]]
            if x == held:
                holds[:, x] = value
        worlds.append(holds)
    weight *= np.exp(worlds[0] @ log_evidence)
    answer: Float64 = weight @ worlds[1] / weight.sum()
    return answer


def _scale() -> Figures:
    estate = synthetic_estate(SERVICES_OF_A_MILLION, 3, prior_scale=0.05)
    random = np.random.default_rng(1)
    _, evidence = incident(estate, 3, random, alarms=5)
    _warm_up(random)
    start = time.process_time()
    state = BeliefState(estate.network, evidence, AT_SCALE)
    cold = time.process_time() - start
    flips, edits = _flips(state, estate, evidence, random, FLIPS), _edits(state, random, SERVICES_OF_A_MILLION, EDITS)
    usual = usually(estate.network)
    causes = random.choice(np.flatnonzero(estate.network.is_defect), IMPACTS).tolist()
    impacts = [cpu_seconds(lambda cause=cause: blast_radius(estate.network, cause, random, usual=usual), runs=1, warm_up=0) for cause in causes]  # type: ignore[misc]  # a lambda's default
    return {
        "variables": len(estate.network),
        "links": estate.network.strength.size,
        "cold_1m_variables_seconds": round(cold, 2),
        "flip_1m_p50_ms": round(1e3 * float(np.median(flips)), 3),
        "flip_1m_p99_ms": round(1e3 * float(np.percentile(flips, 99)), 1),
        "edit_1m_p50_ms": round(1e3 * float(np.median(edits)), 2),
        "do_blast_radius_1m_p50_ms": round(1e3 * statistics.median(impacts), 1),
        "bytes_per_variable": round(state.nbytes / len(estate.network)),
        "network_bytes_per_variable": round(_network_bytes(estate.network) / len(estate.network)),
        "peak_rss_mb_1m": peak_rss_mb(),
        "unsettled_variables": state.unsettled.size,
    }


def _warm_up(random: np.random.Generator) -> None:
    """Loads all that is compiled."""
    estate = synthetic_estate(300, 5, prior_scale=0.3)
    evidence = incident(estate, 3, random)[1]
    state = BeliefState(estate.network, evidence, AT_SCALE)
    _flips(state, estate, evidence, random, 50)
    _edits(state, random, 300, 3)


def _flips(state: BeliefState, estate: SyntheticEstate, evidence: Float64, random: np.random.Generator, count: int) -> Float64:
    """CPU seconds from one symptom's flip to all posteriors. Every other flip takes the last one back."""
    seconds = []
    for _ in range(count // 2):
        variable = random.choice(np.flatnonzero(estate.is_read), 1)
        other = alarm_ratio(estate, evidence <= 0.0)[variable]
        for ratio in (other, evidence[variable]):
            start = time.process_time()
            state.observe(variable, ratio)
            state.settle()
            seconds.append(time.process_time() - start)
    return np.array(seconds)


def _edits(state: BeliefState, random: np.random.Generator, services: int, count: int) -> Float64:
    """CPU seconds from a new call between two services to all posteriors."""
    seconds = []
    slow, failing, size = SERVICE.place("slow"), SERVICE.place("failing"), len(SERVICE.variables)
    for _ in range(count):
        caller, callee = size * np.sort(random.choice(services, 2, replace=False))
        cause = np.array([callee + slow, callee + failing], np.int32)
        effect = np.array([caller + slow, caller + failing], np.int32)
        start = time.process_time()
        state.connect(cause, effect, np.array([0.3, 0.3]))
        state.settle()
        seconds.append(time.process_time() - start)
    return np.array(seconds)


def _network_bytes(network: CausalNetwork) -> int:
    arrays = (network.leak, network.parent_ptr, network.parent, network.strength, network.effect, network.child_ptr, network.child_link)
    return sum(array.nbytes for array in (*arrays, network.cluster, network.is_defect, network.order))
