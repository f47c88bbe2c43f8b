"""Synthetic estates as causal networks: services that call each other, on shared nodes, with shared databases and queues. Seeded, so the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reasoning.native import compiled
from reasoning.network import Bool, CausalNetwork, network_of
from schema.batches import Float64, Int32, Int64

Style = Literal["power_law", "tree", "layered", "hub"]
STYLES: tuple[Style, ...] = ("power_law", "tree", "layered", "hub")
NEIGHBOURHOOD = 40  # services further down that a call usually stays within
LARGEST_FAN_OUT = 60


@dataclass(frozen=True, slots=True)
class Kind:
    """An entity's variables as (name, prior or leak), its defects first, and its own links as (cause, effect, weakest, strongest)."""

    variables: tuple[tuple[str, float], ...]
    defects: int
    links: tuple[tuple[str, str, float, float], ...]

    def place(self, name: str) -> int:
        """Where a variable stands within the entity."""
        return [variable for variable, _ in self.variables].index(name)


SERVICE = Kind(
    (("bug", 0.002), ("misconfigured", 0.001), ("leaks", 0.001), ("throttled", 0.002), ("restarts", 0.001), ("slow", 0.003), ("failing", 0.002)),
    3,
    (
        ("bug", "failing", 0.7, 0.95),
        ("bug", "slow", 0.2, 0.6),
        ("misconfigured", "failing", 0.8, 0.97),
        ("leaks", "restarts", 0.6, 0.9),
        ("leaks", "slow", 0.2, 0.5),
        ("throttled", "slow", 0.5, 0.9),
        ("restarts", "failing", 0.4, 0.8),
        ("restarts", "slow", 0.3, 0.7),
        ("slow", "failing", 0.05, 0.25),
    ),
)
NODE = Kind(
    (("broken", 0.0005), ("noisy", 0.001), ("cpu_pressure", 0.002), ("memory_pressure", 0.001)),
    2,
    (("broken", "cpu_pressure", 0.4, 0.8), ("broken", "memory_pressure", 0.3, 0.7), ("noisy", "cpu_pressure", 0.6, 0.95)),
)
DATABASE = Kind(
    (("locked", 0.001), ("full", 0.0005), ("saturated", 0.002), ("failing", 0.001)),
    2,
    (("locked", "saturated", 0.7, 0.95), ("full", "saturated", 0.3, 0.6), ("full", "failing", 0.7, 0.95), ("saturated", "failing", 0.1, 0.4)),
)
QUEUE = Kind((("stuck", 0.001), ("backlog", 0.002)), 1, (("stuck", "backlog", 0.7, 0.95),))


@dataclass(frozen=True, slots=True)
class SyntheticEstate:
    """A network and its detectors: which variables are read, and how often a reading is wrong, each [n]."""

    network: CausalNetwork
    is_read: Bool
    false_alarm: Float64
    missed: Float64


@dataclass(slots=True)
class _Links:
    """Links in the making."""

    random: np.random.Generator
    causes: list[Int64]
    effects: list[Int64]
    strengths: list[Float64]

    def add(self, cause: Int64, effect: Int64, strength: Float64) -> None:
        self.causes.append(cause)
        self.effects.append(effect)
        self.strengths.append(strength)

    def add_between(self, cause: Int64, effect: Int64, weakest: float, strongest: float) -> None:
        self.add(cause, effect, self.random.uniform(weakest, strongest, cause.size))


def synthetic_estate(services: int, seed: int, *, style: Style = "power_law", prior_scale: float = 1.0) -> SyntheticEstate:
    """About 10 variables and 24 links a service. `prior_scale` multiplies all priors and leaks: large estates are mostly healthy."""
    random = np.random.default_rng(seed)
    counts = (services, max(1, services // 4), max(1, int(services / 2.5)), services // 5)
    links = _Links(random, [], [], [])
    first: list[Int64] = []
    leaks, is_defect, clusters = [], [], []
    variables = entities = 0
    for kind, count in zip((SERVICE, NODE, DATABASE, QUEUE), counts, strict=True):
        size = len(kind.variables)
        base = variables + size * np.arange(count)
        for above, below, weakest, strongest in kind.links:
            links.add_between(base + kind.place(above), base + kind.place(below), weakest, strongest)
        first.append(base)
        leaks.append(np.tile([leak for _, leak in kind.variables], count))
        is_defect.append(np.tile(np.arange(size) < kind.defects, count))
        clusters.append(np.repeat(np.arange(entities, entities + count), size))
        variables, entities = variables + size * count, entities + count
    _share_nodes(links, *first[:2])
    _share_databases(links, first[0], first[2])
    _share_queues(links, first[0], first[3])
    _add_calls(links, first[0], style)
    leak = np.clip(np.concatenate(leaks) * prior_scale * np.exp(random.normal(0.0, 0.4, variables)), 1e-7, 0.3)
    defect = np.concatenate(is_defect)
    cause, effect = np.concatenate(links.causes).astype(np.int32), np.concatenate(links.effects).astype(np.int32)
    network = network_of(leak, cause, effect, np.concatenate(links.strengths), np.concatenate(clusters).astype(np.int32), defect)
    is_read = ~defect & (random.random(variables) < 0.85)
    return SyntheticEstate(network, is_read, np.exp(random.uniform(np.log(0.002), np.log(0.02), variables)), random.uniform(0.05, 0.2, variables))


def _share_nodes(links: _Links, services: Int64, nodes: Int64) -> None:
    host = nodes[links.random.integers(0, nodes.size, services.size)]
    links.add_between(host + NODE.place("cpu_pressure"), services + SERVICE.place("throttled"), 0.4, 0.9)
    links.add_between(host + NODE.place("memory_pressure"), services + SERVICE.place("restarts"), 0.3, 0.8)


def _share_databases(links: _Links, services: Int64, databases: Int64) -> None:
    """Most services have a database near them or a popular one, some a second."""
    random, count = links.random, databases.size
    popularity = random.permutation(count)

    def popular(users: int) -> Int64:
        return popularity[np.minimum((random.pareto(1.5, users) * max(1, count / 20)).astype(np.int64), count - 1)]

    one, two = (np.flatnonzero(random.random(services.size) < share) for share in (0.85, 0.3))
    near = np.where(random.random(one.size) < 0.7, one * count // services.size, popular(one.size))
    uses = np.unique(np.concatenate((one, two)) * count + np.concatenate((near, popular(two.size))))
    user, used = services[uses // count], databases[uses % count]
    links.add_between(used + DATABASE.place("saturated"), user + SERVICE.place("slow"), 0.4, 0.9)
    links.add_between(used + DATABASE.place("failing"), user + SERVICE.place("failing"), 0.4, 0.9)


def _share_queues(links: _Links, services: Int64, queues: Int64) -> None:
    if queues.size:
        users = np.flatnonzero(links.random.random(services.size) < 0.4)
        links.add_between(queues[users * queues.size // services.size] + QUEUE.place("backlog"), services[users] + SERVICE.place("slow"), 0.2, 0.6)


def _add_calls(links: _Links, services: Int64, style: Style) -> None:
    """A caller suffers from a callee as much as it depends on it."""
    random = links.random
    caller, callee = CALL_GRAPHS[style](services.size, random)
    if not caller.size:
        return
    traffic = random.gamma(1.0, 1.0, caller.size)
    share = traffic / np.bincount(caller, traffic, services.size)[caller]
    strength = np.clip(0.15 + 0.8 * share**0.6 * random.uniform(0.6, 1.1, caller.size), 0.05, 0.93)
    slow, failing = SERVICE.place("slow"), SERVICE.place("failing")
    links.add(services[callee] + slow, services[caller] + slow, strength)
    links.add(services[callee] + failing, services[caller] + failing, np.clip(strength * random.uniform(0.6, 1.1, caller.size), 0.05, 0.95))
    links.add(services[callee] + slow, services[caller] + failing, strength * random.uniform(0.1, 0.35, caller.size))


def _power_law(services: int, random: np.random.Generator) -> tuple[Int64, Int64]:
    """Calls go to services further down: mostly near ones, else hubs among the last fifth. On average three a service."""
    wanted = np.minimum(np.floor(random.pareto(1.8, services) * 1.35 + 1).astype(np.int64), LARGEST_FAN_OUT)
    wanted = np.where(random.random(services) < 0.15, 0, wanted)
    made = random.binomial(wanted * 4, min(3.0 / max(float(wanted.mean()), 0.1) / 4, 1.0))
    caller = np.repeat(np.arange(services), made)
    hubs = max(1, services // 5)
    near = random.random(caller.size) < 0.8
    neighbour = caller + 1 + random.integers(0, NEIGHBOURHOOD, caller.size)
    rank = np.minimum((random.pareto(1.1, caller.size) * 3).astype(np.int64), hubs - 1)
    callee = np.where(near, neighbour, services - hubs + random.permutation(hubs)[rank])
    return _distinct(caller, callee, services)


def _tree(services: int, random: np.random.Generator) -> tuple[Int64, Int64]:
    callee = np.arange(1, services)
    return np.array([random.integers(max(0, (each - 1) // 3 - 1), (each - 1) // 2 + 1) for each in range(1, services)], np.int64), callee


def _layered(services: int, random: np.random.Generator) -> tuple[Int64, Int64]:
    layer = np.sort(random.integers(0, max(2, min(5, services // 3)), services))
    calls = [(each, int(callee)) for each in range(services) for callee in _some(np.flatnonzero(layer == layer[each] + 1), 1 + random.poisson(2.0), random)]
    return _columns(calls)


def _hub(services: int, random: np.random.Generator) -> tuple[Int64, Int64]:
    hubs = np.arange(services - max(1, services // 6), services)
    calls: list[tuple[int, int]] = []
    for each in range(int(hubs[0])):
        calls.extend((each, int(hub)) for hub in _some(hubs, 1 + random.poisson(1.0), random))
        if each + 1 < hubs[0] and random.random() < 0.5:
            calls.append((each, int(random.integers(each + 1, hubs[0]))))
    return _columns(calls)


CALL_GRAPHS: dict[Style, Callable[[int, np.random.Generator], tuple[Int64, Int64]]] = {
    "power_law": _power_law,
    "tree": _tree,
    "layered": _layered,
    "hub": _hub,
}


def _some(choices: Int64, count: int, random: np.random.Generator) -> Int64:
    return random.choice(choices, min(choices.size, count), replace=False)


def _columns(calls: list[tuple[int, int]]) -> tuple[Int64, Int64]:
    table = np.array(calls, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _distinct(caller: Int64, callee: Int64, services: int) -> tuple[Int64, Int64]:
    fits = (callee < services) & (callee > caller)
    key = np.unique(caller[fits] * services + callee[fits])
    return key // services, key % services


def incident(estate: SyntheticEstate, faults: int, random: np.random.Generator, *, missing: float = 0.15, alarms: int = 1) -> tuple[Bool, Float64]:
    """A world with `faults` random defects forced on, and log evidence from readings in it with at least so many alarms: bool[n], Float64[n]."""
    defects = np.flatnonzero(estate.network.is_defect)
    while True:
        forced = np.zeros(len(estate.network), np.bool_)
        forced[random.choice(defects, faults, replace=False)] = True
        world = sample_world(estate.network, random, forced)
        evidence = read(estate, world, random, missing)
        if np.count_nonzero(evidence > 0.0) >= alarms:
            return world, evidence


def sample_world(network: CausalNetwork, random: np.random.Generator, forced: Bool) -> Bool:
    """What holds in one world drawn from the model with some variables forced on: bool[n]."""
    holds = forced.copy()
    luck = random.random(len(network)), random.random(network.strength.size)
    draw_world(network.order, network.leak, network.parent_ptr, network.parent, network.strength, *luck, holds)
    return holds


@compiled
def draw_world(order: Int64, leak: Float64, parent_ptr: Int64, parent: Int32, strength: Float64, leak_luck: Float64, link_luck: Float64, holds: Bool) -> None:
    """Fires leaks and links down the causal order, in place: bool[n]."""
    for x in order:
        if leak_luck[x] < leak[x]:
            holds[x] = True
        for link in range(parent_ptr[x], parent_ptr[x + 1]):
            if holds[x]:
                break
            holds[x] = holds[parent[link]] and link_luck[link] < strength[link]


def read(estate: SyntheticEstate, world: Bool, random: np.random.Generator, missing: float) -> Float64:
    """Log evidence from what the detectors say of a world, 0 where a reading is missing: Float64[n]."""
    luck = random.random(world.size)
    alarm = np.where(world, luck >= estate.missed, luck < estate.false_alarm)
    evidence = alarm_ratio(estate, alarm)
    evidence[~estate.is_read | (random.random(world.size) < missing)] = 0.0
    return evidence


def alarm_ratio(estate: SyntheticEstate, alarm: Bool) -> Float64:
    """What an alarm, or its absence, says: Float64[n]."""
    return np.where(alarm, np.log((1.0 - estate.missed) / estate.false_alarm), np.log(estate.missed / (1.0 - estate.false_alarm)))
